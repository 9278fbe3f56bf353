/** What a page says of its network and of being seen; where there is none, nothing. */

/** A window or a document, as far as it matters here. */
interface Speaker {
  addEventListener?(name: string, listener: (event: { readonly type: string }) => void): void;
  removeEventListener?(name: string, listener: (event: { readonly type: string }) => void): void;
  readonly visibilityState?: string;
}

export interface PageListener {
  /** The network is back: what is open may lead nowhere. */
  onOnline(): void;
  /** The page is seen again, or was brought back as it was left. */
  onSeen(): void;
  onHidden(): void;
}

const WINDOW_EVENTS = ['online', 'pageshow'];

/** Listens until the function that it gives is called. */
export function listenToPage(listener: PageListener): () => void {
  const view = globalThis as Speaker & { readonly document?: Speaker };
  const { document } = view;
  const hear = ({ type }: { readonly type: string }): void => {
    if (type === 'online') listener.onOnline();
    else if (document?.visibilityState === 'hidden') listener.onHidden();
    else listener.onSeen();
  };
  for (const name of WINDOW_EVENTS) view.addEventListener?.(name, hear);
  document?.addEventListener?.('visibilitychange', hear);
  if (document?.visibilityState === 'hidden') listener.onHidden();
  return () => {
    for (const name of WINDOW_EVENTS) view.removeEventListener?.(name, hear);
    document?.removeEventListener?.('visibilitychange', hear);
  };
}
