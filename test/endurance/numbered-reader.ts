/** A reader of the numbered events that the server of these programs publishes. */
import { StreamReader, type ReaderOptions } from './stream-reader.js';

export interface NumberedReaderOptions extends Omit<ReaderOptions, 'path' | 'onEvent'> {
  readonly topic: string;
  readonly onEvent?: (sequence: number, dueMicros: number) => void;
}

const NUMBERED = /^\{"sequence":(\d+),"dueMicros":(\d+),/;

export class NumberedReader extends StreamReader {
  constructor({ topic, onEvent, ...options }: NumberedReaderOptions) {
    super({
      ...options,
      path: `/numbers/${topic}`,
      onEvent: (name, data) => {
        if (name !== 'numbered') throw new Error(`An event that nobody published: ${name}`);
        const [, sequence, dueMicros] = NUMBERED.exec(data) ?? [];
        if (sequence === undefined) throw new Error(`An event came damaged: ${data}`);
        onEvent?.(Number(sequence), Number(dueMicros));
      },
    });
  }
}
