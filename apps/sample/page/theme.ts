/** The colour theme: the system's, or the other one once the toggle has been pressed. */

export type Theme = 'light' | 'dark';

const KEY = 'sse-channels.theme';
const system = matchMedia('(prefers-color-scheme: dark)');
const listeners = new Set<() => void>();

let chosen = read();
apply();
system.addEventListener('change', () => {
  apply();
  for (const listener of listeners) listener();
});

/** The theme that is shown now. */
export function currentTheme(): Theme {
  return chosen ?? systemTheme();
}

/**
 * Calls back after each change of colours, whoever made it.
 * @returns ends it
 */
export function onThemeChange(listener: () => void): () => void {
  listeners.add(listener);
  return () => void listeners.delete(listener);
}

/** The one that is not shown now. */
export function otherTheme(): Theme {
  return currentTheme() === 'dark' ? 'light' : 'dark';
}

/** Goes to the other theme. */
export function toggleTheme(): void {
  const next = otherTheme();
  // Back at the system's theme means following the system again.
  chosen = next === systemTheme() ? null : next;
  write(chosen);
  apply();
  for (const listener of listeners) listener();
}

function systemTheme(): Theme {
  return system.matches ? 'dark' : 'light';
}

function apply(): void {
  document.documentElement.dataset.theme = currentTheme();
}

function read(): Theme | null {
  try {
    const stored = localStorage.getItem(KEY);
    return stored === 'light' || stored === 'dark' ? stored : null;
  } catch {
    // Storage may be forbidden; the toggle then lasts as long as the page.
    return null;
  }
}

function write(theme: Theme | null): void {
  try {
    if (theme === null) localStorage.removeItem(KEY);
    else localStorage.setItem(KEY, theme);
  } catch {
    // As in read().
  }
}
