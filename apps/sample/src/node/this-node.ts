/** Which of the sample's nodes this is. */
import { randomBytes } from 'node:crypto';
import { Injectable } from '@nestjs/common';

@Injectable()
export class ThisNode {
  /** The name that `NODE_NAME` gives it, and a part that is another after each start: what it counts begins at one with it. */
  readonly id = `${process.env['NODE_NAME'] ?? 'a'}-${randomBytes(3).toString('hex')}`;
}
