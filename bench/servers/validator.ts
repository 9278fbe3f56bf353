/** What a publish cannot do without: class-validator and JSON. The floor of the scenario `bus`; it serves no streams. */
import { IsInt, IsString, validateSync } from 'class-validator';
import type { SseServer, Tick } from '../sse-server.js';

class Ticked implements Tick {
  @IsInt() sequence!: number;
  @IsString() mark!: string;
  @IsString() body!: string;
}

export function start(): Promise<SseServer> {
  return Promise.resolve({
    port: 0,
    path: '',
    publish(_channel: string, event: Tick) {
      const errors = validateSync(Object.assign(new Ticked(), event), { whitelist: true, forbidNonWhitelisted: true });
      if (errors.length > 0) throw new Error(String(errors[0]));
      return JSON.stringify(event);
    },
    remember: () => '',
  });
}
