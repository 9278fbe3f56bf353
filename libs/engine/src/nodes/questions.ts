/** Questions to other nodes: who is waited for, until when, and whose answer is whole. */
import { randomBytes } from 'node:crypto';
import { SseChannelsError } from '@sse-channels/protocol';
import type { Answer } from './node-record.js';

/** How many questions may be open at once. */
const MAX_OPEN = 1_000;

interface OpenQuestion {
  readonly everyone: boolean;
  /** Who was there and has not answered in whole. */
  readonly awaited: Set<string>;
  /** The page that is next from each who has begun. */
  readonly pages: Map<string, number>;
  readonly onAnswer: (answer: Answer) => void;
  /** Looks whether it is over. */
  readonly look: () => void;
  readonly end: (error?: SseChannelsError) => void;
}

/** How a question is asked. */
export interface QuestionOptions {
  /** Who is to answer, as far as they are known. */
  readonly awaited: readonly string[];
  /** Whether others are to answer too. */
  readonly everyone: boolean;
  /** After how many milliseconds nobody is waited for. */
  readonly deadlineMs: number;
  /** Appends it. */
  readonly send: (question: string) => void;
  /** A page of an answer; pages of a node come in order, and none is left out. */
  readonly onAnswer: (answer: Answer) => void;
  /** Whether it may be over when nobody is waited for: some may be there who are not known of yet. @default always */
  readonly complete?: () => boolean;
}

export class Questions {
  readonly #open = new Map<string, OpenQuestion>();
  #closed = false;

  /**
   * Asks, and waits for the answers.
   * @returns who did not answer in whole
   * @throws rejects with SseChannelsError `UNAVAILABLE` when too many are open, `CLOSED` after the end
   */
  ask({
    awaited,
    everyone,
    deadlineMs,
    send,
    onAnswer,
    complete = () => true,
  }: QuestionOptions): Promise<readonly string[]> {
    return new Promise((resolve, reject) => {
      if (this.#closed) return reject(closed());
      if (this.#open.size >= MAX_OPEN) {
        return reject(
          new SseChannelsError(
            'UNAVAILABLE',
            `The other nodes were not asked: ${MAX_OPEN} questions to them are open already; ask less at once.`,
          ),
        );
      }
      const id = randomBytes(9).toString('base64url');
      const end = (error?: SseChannelsError): void => {
        clearTimeout(late);
        this.#open.delete(id);
        if (error === undefined) resolve([...question.awaited]);
        else reject(error);
      };
      const question: OpenQuestion = {
        everyone,
        awaited: new Set(awaited),
        pages: new Map(),
        onAnswer,
        look: () => {
          if (question.awaited.size === 0 && complete()) end();
        },
        end,
      };
      const late = setTimeout(end, deadlineMs);
      this.#open.set(id, question);
      send(id);
      question.look();
    });
  }

  answered(answer: Answer): void {
    const question = this.#open.get(answer.question);
    if (question === undefined || (question.pages.get(answer.from) ?? 0) !== answer.page) return;
    question.pages.set(answer.from, answer.page + 1);
    question.onAnswer(answer);
    if (!answer.last) return;
    question.awaited.delete(answer.from);
    question.look();
  }

  /** A node is there that was not known of when the questions were asked; it has heard them if it was there. */
  joined(node: string): void {
    for (const { everyone, awaited, pages } of this.#open.values()) if (everyone && !pages.has(node)) awaited.add(node);
  }

  /** A node is gone with all that it had: nobody waits for it. */
  left(node: string): void {
    for (const question of this.#open.values()) if (question.awaited.delete(node)) question.look();
  }

  /** Looks which are over, where that hangs on more than answers. */
  look(): void {
    for (const question of this.#open.values()) question.look();
  }

  close(): void {
    this.#closed = true;
    for (const { end } of this.#open.values()) end(closed());
  }
}

function closed(): SseChannelsError {
  return new SseChannelsError('CLOSED', 'The other nodes can no longer be asked; the application has shut down.');
}
