/** What was said of the connection and of its topics, newest first. */
import { useEffect, useState } from 'react';
import { sayGap, sayState, type Saying } from '../live/connection-words.js';
import { clockTime } from '../words.js';
import { connection } from './floor-connection.js';
import type { PriceChannel } from './use-price-book.js';

interface Entry extends Saying {
  readonly number: number;
  readonly atMs: number;
  readonly of: string;
}

const LIMIT = 60;

export function ConnectionPanel(props: { readonly channels: ReadonlyArray<readonly [string, PriceChannel]> }) {
  const [entries, setEntries] = useState<readonly Entry[]>([]);
  const channels = props.channels.map(([, channel]) => channel);
  const say = (of: string, saying: Saying): void =>
    setEntries(([last, ...others]) => {
      // Each try is a state of its own; the first one is said.
      const isSame =
        last?.of === of && last.name === saying.name && last.words.split(' · ')[0] === saying.words.split(' · ')[0];
      if (last !== undefined && isSame) return [last, ...others];
      const entry = { ...saying, of, number: (last?.number ?? 0) + 1, atMs: Date.now() };
      return [entry, ...(last === undefined ? [] : [last]), ...others].slice(0, LIMIT);
    });
  useEffect(() => connection.client.onState((state) => say('stream', sayState(state, connection.shown.node))), []);
  useEffect(() => {
    const leaves = props.channels.map(([of, channel]) => channel.onGap((gap) => say(of, sayGap(gap))));
    return () => leaves.forEach((leave) => leave());
  }, [...channels]);
  return (
    <section className="card card-control" aria-labelledby="control-heading">
      <div className="card-head">
        <h2 className="card-title" id="control-heading">
          Connection
        </h2>
        <span className="card-note">one stream for all panels, and what its client says of it</span>
      </div>
      <div className="control" role="region" aria-labelledby="control-heading" tabIndex={0}>
        <ol className="control-list" data-testid="control-log">
          {entries.map(({ number, atMs, of, name, words, tone }) => (
            <li key={number} className="control-entry" data-name={name} data-tone={tone}>
              <time className="control-time" dateTime={new Date(atMs).toISOString()}>
                {clockTime(atMs)}
              </time>
              <span className="control-stream">{of}</span>
              <code className="control-name">{name}</code>
              <span className="control-words">{words}</span>
            </li>
          ))}
        </ol>
      </div>
    </section>
  );
}
