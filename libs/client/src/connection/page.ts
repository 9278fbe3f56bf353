/** What a page says of its network and of being seen; where there is none, nothing. */

/** A window, as far as it matters here; a worker, Node and React Native have less of it. */
interface View {
  addEventListener?(name: string, listener: (event: { readonly type: string }) => void): void;
  removeEventListener?(name: string, listener: (event: { readonly type: string }) => void): void;
  readonly document?: { readonly visibilityState: string };
}

export interface PageListener {
  /** The network is back: what is open may lead nowhere. */
  onOnline(): void;
  /** The page is seen again, or was brought back as it was left. */
  onSeen(): void;
  onHidden(): void;
}

/** The last comes up from the document. */
const EVENTS = ['online', 'pageshow', 'visibilitychange'];

/** Listens until the function that it gives is called. */
export function listenToPage(listener: PageListener): () => void {
  const view = globalThis as View;
  const hear = ({ type }: { readonly type: string }): void => {
    if (type === 'online') listener.onOnline();
    else if (view.document?.visibilityState === 'hidden') listener.onHidden();
    else listener.onSeen();
  };
  for (const name of EVENTS) view.addEventListener?.(name, hear);
  // It may be hidden from the beginning.
  if (view.document !== undefined) hear({ type: 'visibilitychange' });
  return () => {
    for (const name of EVENTS) view.removeEventListener?.(name, hear);
  };
}
