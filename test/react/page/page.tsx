/** Shows the page, in StrictMode or without: mounted anew, or taking over what a server rendered. */
import { Fragment, StrictMode } from 'react';
import { createRoot, hydrateRoot } from 'react-dom/client';
import { renderToString } from 'react-dom/server';
import { createSseClient, hub } from '@sse-channels/client';
import type { countsChannel } from '../contract.js';
import { Page, type Knobs, type Shown } from './counts.js';

/** Writes to the streams that `fed` reads. */
let write = (_text: string): void => undefined;

const knobs: Knobs = {
  heard: [],
  renders: {},
  client: createSseClient<typeof countsChannel>('/counts/outside'),
  live: createSseClient<typeof countsChannel>('/live', { hub }),
  fetch: async () => {
    const body = new ReadableStream<Uint8Array>({
      start: (stream) => {
        write = (text) => stream.enqueue(new TextEncoder().encode(text));
      },
    });
    return new Response(body, { headers: { 'content-type': 'text/event-stream' } });
  },
};
let unmount = (): void => undefined;

/** @returns what a server would have rendered, if it was to be taken over */
function show(initial: Shown, takeOver = false, isStrict = true): string {
  const root = document.querySelector('#root') as HTMLElement;
  const Mode = isStrict ? StrictMode : Fragment;
  const page = (
    <Mode>
      <Page knobs={knobs} initial={initial} />
    </Mode>
  );
  if (takeOver) root.innerHTML = renderToString(page);
  const rendered = root.innerText;
  const made = takeOver ? hydrateRoot(root, page) : createRoot(root);
  if (!takeOver) made.render(page);
  unmount = () => made.unmount();
  return rendered;
}

Object.assign(globalThis, { show, unmount: () => unmount(), write: (text: string) => write(text), knobs });
