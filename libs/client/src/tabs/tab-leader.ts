/** The tab that leads: it has the connection, for what all tabs want. */
import type { SharedTopicStream } from '../hub/topic-stream.js';
import { isNotAfter } from '../connection/place.js';
import type { TabWants, WantedTopic } from './tab-message.js';

export interface TabLeader {
  readonly stream: SharedTopicStream;
  /** A tab says what it wants. */
  take(wants: TabWants): void;
  /** A tab is gone. */
  drop(tab: string): void;
  /** A topic ended: who wants it again is taken for one that comes new. */
  forget(topic: string): void;
  /** What all of them want. */
  topics(): readonly string[];
  /** Whether no other tab was heard of. */
  readonly isAlone: () => boolean;
  /** Begins with what the tabs have said by now. */
  begin(): void;
}

export interface TabLeaderListener {
  /** A tab is heard of for the first time. */
  readonly onTab: (tab: string) => void;
  /** What comes of a topic from now on is for that tab, too. */
  readonly onHeard: (tab: string, topic: string) => void;
}

/** @param open makes the connection */
export function createTabLeader(open: () => SharedTopicStream, { onTab, onHeard }: TabLeaderListener): TabLeader {
  const stream = open();
  /** What each tab wants; before it begins, nothing of it has been asked for. */
  const tabs = new Map<string, { readonly cursor: string; readonly topics: Map<string, WantedTopic> }>();
  let begun = false;
  return {
    stream,
    take({ from, cursor, topics }) {
      const before = tabs.get(from);
      if (!before) onTab(from);
      const wanted = { cursor, topics: new Map(topics.map((topic) => [topic.topic, topic])) };
      tabs.set(from, wanted);
      if (!begun) return;
      for (const topic of topics) if (before?.topics.has(topic.topic) !== true) join(from, topic, cursor);
      if (before) leave(before.topics.keys());
    },
    drop(tab) {
      const topics = tabs.get(tab)?.topics.keys() ?? [];
      tabs.delete(tab);
      if (begun) leave(topics);
    },
    forget(topic) {
      for (const tab of tabs.values()) tab.topics.delete(topic);
    },
    topics: () => Array.from(new Set([...tabs.values()].flatMap(({ topics }) => [...topics.keys()]))),
    isAlone: () => tabs.size < 2,
    begin() {
      begun = true;
      const all = [...tabs.values()];
      // Where the first of them stands all go on: the others drop what they had.
      const cursor = all.map((tab) => tab.cursor).reduce(earlier, '');
      const places = new Map<string, string>();
      for (const tab of all) {
        for (const { topic, place, begun: goesOn } of tab.topics.values()) {
          if (goesOn) places.set(topic, earlier(places.get(topic) ?? '', place ?? tab.cursor));
        }
      }
      for (const [topic, place] of places) if (place !== '') stream.resume(topic, cursor, place);
      for (const [tab, { topics }] of tabs) {
        for (const topic of topics.values()) if (!topic.begun) join(tab, topic, '');
      }
    },
  };

  /** @param cursor where a tab stands that comes late, and goes on */
  function join(tab: string, { topic, place, begun: goesOn }: WantedTopic, cursor: string): void {
    const from = goesOn ? (place ?? cursor) : place;
    stream.join(topic, from === '' ? null : from, () => onHeard(tab, topic));
  }

  /** Takes out what nobody wants any more. */
  function leave(topics: Iterable<string>): void {
    const wanted = [...tabs.values()];
    for (const topic of topics) if (!wanted.some((tab) => tab.topics.has(topic))) stream.remove(topic);
  }
}

/** The earlier of two places; what says nothing does not count, and of those that cannot be compared the first. */
function earlier(one: string, other: string): string {
  if (one === '' || other === '') return one || other;
  return isNotAfter(other, one) ? other : one;
}
