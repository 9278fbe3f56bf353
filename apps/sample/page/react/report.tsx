/** One report at a time: asked for, followed through its topic, and still there after a cut. */
import { useState, type ReactNode } from 'react';
import { useChannel, useConnectionState, useReduced } from '@sse-channels/react';
import { postJson } from '../request.js';
import { connection, useShown } from './floor-connection.js';

interface Progress {
  readonly state: 'idle' | 'asked' | 'running' | 'finished' | 'failed';
  readonly step: string;
  readonly percent?: number;
  readonly result?: ReactNode;
}

const IDLE: Progress = { state: 'idle', step: 'No report has been run.' };
const rowCount = new Intl.NumberFormat('en-US');

export function Report() {
  const [report, setReport] = useState<Progress | { readonly id: string }>(IDLE);
  const run = async (): Promise<void> => {
    setReport({ state: 'asked', step: 'Asking for a report…', percent: 0 });
    try {
      setReport((await postJson('/reports')) as { readonly id: string });
    } catch (error) {
      setReport({ state: 'failed', step: `No report was made. ${(error as Error).message}` });
    }
  };
  const onRun = (): void => void run();
  if ('id' in report) return <Running key={report.id} id={report.id} onRun={onRun} />;
  return <Card progress={report} onRun={onRun} />;
}

/** A report that is under way, or that was. */
function Running({ id, onRun }: { readonly id: string; readonly onRun: () => void }) {
  const report = useChannel((lastEventId) => connection.client.subscribe('reports/:id', { id }, { lastEventId }), [id]);
  const progress = useReduced(
    report,
    (last: Progress, event): Progress => {
      if (event.name === 'report.progressed') {
        return { state: 'running', step: event.data.step, percent: Math.round(event.data.percent) };
      }
      const { rows, reportId, url } = event.data;
      const link = (
        <a href={url} target="_blank" rel="noopener">
          report {reportId}
        </a>
      );
      return {
        ...last,
        state: 'finished',
        step: 'Finished',
        percent: 100,
        result: (
          <>
            {rowCount.format(rows)} rows · {link}
          </>
        ),
      };
    },
    { state: 'running', step: `Report ${id} is on its way.`, percent: 0 },
  );
  const { status, error } = useConnectionState(report);
  const isLost = status === 'closed' && progress.state === 'running';
  return (
    <Card
      progress={
        isLost ? { ...progress, state: 'failed', step: `The report was lost. ${error?.message ?? ''}` } : progress
      }
      onRun={onRun}
    />
  );
}

function Card({ progress, onRun }: { readonly progress: Progress; readonly onRun: () => void }) {
  const { state, step, percent, result } = progress;
  const { status } = useShown();
  // A report runs all the same while the connection is away.
  const shown = state === 'running' && status !== 'open' ? 'paused' : state;
  const isBusy = state === 'asked' || state === 'running';
  return (
    <section className="card card-report" aria-labelledby="report-heading">
      <div className="card-head">
        <h2 className="card-title" id="report-heading">
          End-of-day report
        </h2>
        <span className="stream-state" data-state={shown}>
          {shown === 'paused' ? status : shown}
        </span>
      </div>
      <div className="report" data-testid="report-progress" data-state={shown} data-percent={percent ?? 0}>
        <div className="report-line">
          <span className="report-step">{step}</span>
          <span className="report-percent mono">{percent === undefined ? '' : `${percent} %`}</span>
        </div>
        <div
          className="bar"
          role="progressbar"
          aria-label="Report"
          aria-valuemin={0}
          aria-valuemax={100}
          aria-valuenow={percent ?? 0}
          aria-valuetext={step}
        >
          <div className="bar-fill" style={{ '--done': `${percent ?? 0}%` } as object} />
        </div>
        <p className="report-result" data-testid="report-result" role="status">
          {result}
        </p>
      </div>
      <button
        type="button"
        className="button button-wide"
        data-testid="report-button"
        disabled={isBusy}
        onClick={onRun}
      >
        {isBusy ? 'Running…' : state === 'idle' ? 'Run a report' : 'Run another report'}
      </button>
    </section>
  );
}
