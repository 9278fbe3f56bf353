/** What this node is called, for all modules. */
import { Global, Module } from '@nestjs/common';
import { ThisNode } from './this-node.js';

@Global()
@Module({ providers: [ThisNode], exports: [ThisNode] })
export class NodeModule {}
