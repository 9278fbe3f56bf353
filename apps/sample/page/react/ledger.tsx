/** What this page has received: the last cursor, and the counts that would betray a lost event. */
import type { Counts } from '../prices/price-book.js';
import { connection, useShown } from './floor-connection.js';

export function Ledger({ counts }: { readonly counts: Counts }) {
  const { node, reconnects } = useShown();
  const { cursor } = connection.client;
  return (
    <section className="ledger" aria-label="What this page has received">
      <dl>
        <div className="ledger-cell ledger-cursor">
          <dt>Last cursor</dt>
          <dd className="mono" title={cursor}>
            <bdi data-testid="last-cursor">{cursor || '–'}</bdi>
          </dd>
        </div>
        <div className="ledger-cell ledger-node">
          <dt>Served by</dt>
          <dd className="mono" data-testid="serving-node">
            {node || '–'}
          </dd>
        </div>
        <Count name="Reconnects" id="reconnect-count" count={reconnects} className="ledger-reconnects" />
        <Count name="Received" id="received-count" count={counts.received} />
        <Count name="Replayed" id="replayed-count" count={counts.replayed} tone="replay" />
        <Count name="Missed" id="missed-count" count={counts.missed} tone="fault" />
        <Count name="Doubled" id="doubled-count" count={counts.doubled} tone="fault" />
      </dl>
    </section>
  );
}

function Count(props: {
  readonly name: string;
  readonly id: string;
  readonly count: number;
  readonly tone?: 'replay' | 'fault';
  readonly className?: string;
}) {
  const { name, id, count, tone, className = '' } = props;
  return (
    <div className={`ledger-cell ${className}`} data-tone={tone}>
      <dt>{name}</dt>
      <dd data-testid={id} data-some={count > 0}>
        {count}
      </dd>
    </div>
  );
}
