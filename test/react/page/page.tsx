/** Shows the page in StrictMode: mounted anew, or taking over what a server rendered. */
import { StrictMode } from 'react';
import { createRoot, hydrateRoot } from 'react-dom/client';
import { renderToString } from 'react-dom/server';
import { createSseClient, hub } from '@sse-channels/client';
import type { countsChannel } from '../contract.js';
import { Page, type Knobs, type Shown } from './counts.js';

const knobs: Knobs = {
  heard: [],
  renders: {},
  client: createSseClient<typeof countsChannel>('/counts/outside'),
  live: createSseClient<typeof countsChannel>('/live', { hub }),
};
let unmount = (): void => undefined;

/** @returns what a server would have rendered, if it was to be taken over */
function show(initial: Shown, takeOver = false): string {
  const root = document.querySelector('#root') as HTMLElement;
  const page = (
    <StrictMode>
      <Page knobs={knobs} initial={initial} />
    </StrictMode>
  );
  if (takeOver) root.innerHTML = renderToString(page);
  const rendered = root.innerText;
  const made = takeOver ? hydrateRoot(root, page) : createRoot(root);
  if (!takeOver) made.render(page);
  unmount = () => made.unmount();
  return rendered;
}

Object.assign(globalThis, { show, unmount: () => unmount(), knobs });
