/** Every fault by its name: what is done, on which engines, and what must hold. */
import type { EngineName } from './engine.js';
import {
  engineAway,
  flushedStore,
  manyTopics,
  randomCursors,
  rewoundStore,
  type ScriptOutcome,
  type ScriptSettings,
} from './scripts.js';
import {
  clientCuts,
  clientKills,
  delays,
  engineFreezes,
  engineKills,
  halfOpenLinks,
  inTurn,
  lateNodes,
  lostTails,
  nodeFreezes,
  nodeKills,
  repliesCut,
  rollingKills,
  tcpDrops,
  together,
} from './storms.js';
import type { Load, TrialSettings } from './trial.js';

type TrialOf = Omit<TrialSettings, 'engine' | 'seed' | 'load' | 'evidence'> & { readonly load?: Load };

/** A fault under load is a trial; one that is told step by step is a script. */
export type Fault = {
  readonly name: string;
  readonly what: string;
  readonly engines: readonly EngineName[];
} & (
  | {
      readonly trial: (load: Load) => TrialOf;
      /** How many seconds it has where faults are done in turn to one cluster; absent where it needs one of its own. */
      readonly inTurnSeconds?: number;
    }
  | { readonly script: (settings: ScriptSettings) => Promise<ScriptOutcome> }
);

const BOTH = ['redis', 'nats'] as const;
/** A topic keeps so few where the log is to move on without its readers. */
const FEW_KEPT = 50;
/** Clients that do not give a silent node up. */
const PATIENT_MS = 60_000;

export const FAULTS: readonly Fault[] = [
  {
    name: 'T1',
    what: 'the engine is killed five times',
    engines: BOTH,
    inTurnSeconds: 4,
    trial: () => ({ storm: engineKills(5) }),
  },
  {
    name: 'T2',
    what: 'the engine closes connections of nodes every 300 to 700 ms',
    engines: BOTH,
    inTurnSeconds: 2,
    trial: () => ({ storm: clientKills }),
  },
  {
    name: 'T3',
    what: 'connections of nodes and of clients are cut on their way',
    engines: BOTH,
    inTurnSeconds: 2,
    trial: () => ({ storm: together(tcpDrops, delays) }),
  },
  {
    name: 'T4',
    what: 'links of nodes are half open: nothing comes, and nobody closes',
    engines: BOTH,
    inTurnSeconds: 4,
    trial: () => ({ storm: halfOpenLinks }),
  },
  {
    name: 'T5',
    what: 'T1 to T4 at a time, and clients that leave and come back',
    engines: BOTH,
    inTurnSeconds: 4,
    trial: () => ({
      allow: { late: true },
      storm: together(engineKills(2), clientKills, tcpDrops, halfOpenLinks, clientCuts),
    }),
  },
  {
    name: 'T6',
    what: 'streams of 25 topics with one cursor under T1 and T2',
    engines: BOTH,
    inTurnSeconds: 3,
    trial: () => ({ topicsOfEach: 25, storm: together(engineKills(3), clientKills, clientCuts) }),
  },
  {
    name: 'T7',
    what: 'an older store comes back',
    engines: BOTH,
    script: rewoundStore,
  },
  {
    name: 'T8',
    what: 'the engine loses the end of what it acknowledged, again and again',
    engines: BOTH,
    trial: () => ({
      allow: { gaps: true, lost: true },
      cluster: { engineSettings: { redis: { appendfsync: 'everysec' } } },
      storm: lostTails(4),
    }),
  },
  {
    name: 'T9',
    what: 'a node stands still for 6 s while the log keeps 50 events of each topic',
    engines: BOTH,
    trial: (load) => ({
      load: { ...load, topics: Math.ceil(load.topics / 20) },
      allow: { gaps: true },
      cluster: {
        keepEvents: FEW_KEPT,
        engineSettings: { redis: { 'client-output-buffer-limit': 'pubsub 256kb 64kb 5' } },
      },
      silenceMs: PATIENT_MS,
      storm: nodeFreezes(6_000),
    }),
  },
  {
    name: 'T10',
    what: '1,000 reads from random cursors while little is kept',
    engines: BOTH,
    script: randomCursors,
  },
  {
    name: 'T11',
    what: "everything is flushed, then a topic's head evicted",
    engines: ['redis'],
    script: flushedStore,
  },
  {
    name: 'T12',
    what: 'answers are lost after the append was done',
    engines: BOTH,
    inTurnSeconds: 2,
    trial: () => ({ storm: repliesCut }),
  },
  {
    name: 'T13',
    what: 'the engine is away for long',
    engines: BOTH,
    script: engineAway,
  },
  {
    name: 'T14',
    what: 'bursts of up to 60 appends that nobody awaits, while the engine is killed',
    engines: BOTH,
    inTurnSeconds: 3,
    trial: () => ({ maxBurst: 60, storm: together(engineKills(3), clientKills) }),
  },
  {
    name: 'T15',
    what: '10,000 topics on one node, whose connections are cut',
    engines: BOTH,
    script: manyTopics,
  },
  {
    name: 'T17',
    what: 'three replicas, killed in turn',
    engines: ['nats'],
    trial: () => ({
      allow: { late: true },
      cluster: { engineSettings: { replicated: true } },
      storm: together(rollingKills, clientCuts),
    }),
  },
  {
    name: 'E1',
    what: 'the engine stands still for some seconds',
    engines: BOTH,
    inTurnSeconds: 4,
    trial: () => ({ storm: engineFreezes }),
  },
  {
    name: 'N1',
    what: 'app processes are killed and started again',
    engines: BOTH,
    inTurnSeconds: 3,
    trial: () => ({ storm: nodeKills }),
  },
  {
    name: 'N2',
    what: 'an app process stands still for 6 s; its clients go elsewhere',
    engines: BOTH,
    inTurnSeconds: 4,
    trial: () => ({ storm: nodeFreezes(6_000) }),
  },
  {
    name: 'N3',
    what: 'a node comes late',
    engines: BOTH,
    inTurnSeconds: 2,
    trial: () => ({ cluster: { late: 1 }, storm: lateNodes }),
  },
];

/** The faults that can be done to one cluster, one after the other, and how many seconds that takes. */
export function allInTurn(engine: EngineName, load: Load): { readonly fault: Fault; readonly seconds: number } {
  const shares = FAULTS.flatMap((fault) =>
    'trial' in fault && fault.inTurnSeconds !== undefined && fault.engines.includes(engine)
      ? [{ name: fault.name, seconds: fault.inTurnSeconds, play: fault.trial(load).storm }]
      : [],
  );
  const fault: Fault = {
    name: shares.map(({ name }) => name).join(' '),
    what: 'in turn to one cluster',
    engines: [engine],
    trial: () => ({
      cluster: { late: 1 },
      maxBurst: 40,
      storm: inTurn(shares.map(({ seconds, play }) => [seconds, play])),
    }),
  };
  return { fault, seconds: shares.reduce((sum, { seconds }) => sum + seconds, 0) };
}
