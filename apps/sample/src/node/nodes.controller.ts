/** The nodes, as whichever of them answers knows them. */
import { Controller, Get } from '@nestjs/common';
import { EventBus } from '@sse-channels/nest';

@Controller('nodes')
export class NodesController {
  constructor(private readonly bus: EventBus) {}

  @Get()
  list() {
    return this.bus.connections.everywhere
      .nodes()
      .map(({ name, connections, draining }) => ({ node: name, connections, draining }));
  }
}
