/** Times, amounts and counts as the page writes them. */

const clock = new Intl.DateTimeFormat('en-GB', { hour: '2-digit', minute: '2-digit', second: '2-digit' });
const amountFormat = new Intl.NumberFormat('en-US', { minimumFractionDigits: 2, maximumFractionDigits: 2 });

/** The time of day, as `14:03:27`. */
export function clockTime(atMs: number): string {
  return clock.format(atMs);
}

/** A price, as `1,204.50`. */
export function amount(price: number): string {
  return amountFormat.format(price);
}

/** `1 event`, `2 events`. */
export function counted(count: number, noun: string): string {
  return `${count} ${noun}${count === 1 ? '' : 's'}`;
}
