/** What a page says of its network and of being seen; where there is none, nothing. */

/** A window, as far as it matters here; a worker, Node and React Native have less of it. */
interface View {
  addEventListener?(name: string, listener: (event: { readonly type: string }) => void): void;
  removeEventListener?(name: string, listener: (event: { readonly type: string }) => void): void;
  readonly document?: { readonly visibilityState: string };
}

/** `online`: the network is back, and what is open may lead nowhere. */
export type PageNews = 'online' | 'visible' | 'hidden';

/** The second comes up from the document, also when the page was put away whole and is brought back. */
const EVENTS = ['online', 'visibilitychange'];

/** Listens until the function that it gives is called; a page that is hidden says so at once. */
export function listenToPage(listener: (news: PageNews) => void): () => void {
  const view = globalThis as View;
  const hear = ({ type }: { readonly type: string }): void =>
    listener(type === 'online' ? type : view.document?.visibilityState === 'hidden' ? 'hidden' : 'visible');
  for (const name of EVENTS) view.addEventListener?.(name, hear);
  if (view.document?.visibilityState === 'hidden') listener('hidden');
  return () => {
    for (const name of EVENTS) view.removeEventListener?.(name, hear);
  };
}
