/** What this node is called, for all modules, and which others there are. */
import { Global, Module } from '@nestjs/common';
import { NodesController } from './nodes.controller.js';
import { ThisNode } from './this-node.js';

@Global()
@Module({ controllers: [NodesController], providers: [ThisNode], exports: [ThisNode] })
export class NodeModule {}
