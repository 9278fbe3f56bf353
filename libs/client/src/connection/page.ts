/** What a page says of its network and of being seen; where there is none, nothing. */

/** A window, as far as it matters here; a worker, Node and React Native have less of it. */
interface View {
  addEventListener?(name: string, listener: (event: { readonly type: string }) => void): void;
  removeEventListener?(name: string, listener: (event: { readonly type: string }) => void): void;
  readonly document?: { readonly visibilityState: string };
}

/** Whether the page is not seen. */
export function isHidden(): boolean {
  return (globalThis as View).document?.visibilityState === 'hidden';
}

/**
 * Listens until the function that it gives is called.
 * @param listener called at once, when the page is hidden or seen, and with true when the network is back: what is open may lead nowhere then
 */
export function listenToPage(listener: (online: boolean) => void): () => void {
  const view = globalThis as View;
  const hear = ({ type }: { readonly type: string }): void => listener(type === 'online');
  view.addEventListener?.('online', hear);
  // It comes up from the document, also when the page was put away whole and is brought back.
  view.addEventListener?.('visibilitychange', hear);
  listener(false);
  return () => {
    view.removeEventListener?.('online', hear);
    view.removeEventListener?.('visibilitychange', hear);
  };
}
