/** Components that follow counts; `?view=` says which are shown. The same ones are rendered on the server. */
import { Activity, Suspense, useEffect, useState, type Dispatch, type SetStateAction } from 'react';
import { createSseClient, type Fetch, type SseClient, type SseHubClient } from '@sse-channels/client';
import { useChannel, useConnectionState, useLatest, useReduced } from '@sse-channels/react';
import type { countsChannel } from '../contract.js';

type Contract = typeof countsChannel;

/** What the test reads, and turns, from outside. */
export interface Knobs {
  readonly heard: number[];
  readonly renders: Record<string, number>;
  set?: Dispatch<SetStateAction<Shown>>;
  /** A client that no component made. */
  client?: SseClient<Contract>;
  /** A client of many topics, of which `live/a` follows `counts/a`. */
  live?: SseHubClient<Contract>;
  /** Answers with a stream that the test writes, which `fed` reads. */
  fetch?: Fetch;
}

/** A number, or why there are some missing. */
type Seen = number | string;

export interface Shown {
  /** Whose numbers; several stand beside each other. */
  readonly names: readonly string[];
  readonly isHidden?: boolean;
}

/** Opens a channel of its own, or a topic on the connection of all. */
export function Counts({ name, knobs }: { readonly name: string; readonly knobs: Knobs }) {
  const from = name === 'late' ? 'gone~1-0' : undefined;
  const counts = useChannel(
    (lastEventId = from) =>
      name.startsWith('live/') && knobs.live !== undefined
        ? knobs.live.subscribe('counts/:name', { name: name.slice('live/'.length) }, { lastEventId })
        : createSseClient<Contract>(`/counts/${name}`, {
            lastEventId,
            ...(name === 'fed' && knobs.fetch !== undefined ? { fetch: knobs.fetch } : {}),
          }),
    [name],
  );
  const latest = useLatest(counts, 'number.counted');
  const numbers = useReduced(
    counts,
    (all: readonly Seen[], { data }) => [...all, data.number],
    [],
    (all, { reason }) => [...all, reason],
  );
  const { status } = useConnectionState(counts);
  useEffect(() => counts.on('number.counted', ({ number }) => knobs.heard.push(number)), [counts, knobs]);
  knobs.renders[name] = (knobs.renders[name] ?? 0) + 1;
  return (
    <p data-name={name}>
      {status} {latest?.number ?? 'none'} [{numbers.join(' ')}]
    </p>
  );
}

/** Listens to a client that it was given. */
function Listener({ client }: { readonly client: SseClient<Contract> }) {
  const { number } = useLatest(client, 'number.counted', { number: -1 });
  return <p data-name="listener">{`${useConnectionState(client).status} ${number}`}</p>;
}

export function Page({ knobs, initial }: { readonly knobs: Knobs; readonly initial: Shown }) {
  const [{ names, isHidden = false }, set] = useState(initial);
  useEffect(() => {
    knobs.set = set;
  });
  return (
    <main>
      <Suspense>
        <Activity mode={isHidden ? 'hidden' : 'visible'}>
          {names.map((name, index) =>
            name === 'listener' && knobs.client !== undefined ? (
              <Listener key={index} client={knobs.client} />
            ) : (
              <Counts key={index} name={name} knobs={knobs} />
            ),
          )}
        </Activity>
      </Suspense>
    </main>
  );
}
