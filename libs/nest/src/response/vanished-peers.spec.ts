import { afterEach, beforeEach, describe, expect, it, jest } from '@jest/globals';
import { retransmitting, VanishedPeers } from './vanished-peers.js';

const HEAD = '  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n';
const line = (local: string, remote: string, state: string, retransmits: string): string =>
  `   8: ${local} ${remote} ${state} 00000010:00000000 01:00000034 ${retransmits}     0        0 77642 2 000000006601a062 81 4 30 1 -1 \n`;
const SILENT = HEAD + line('01004D0A:23A3', '02004D0A:EA6A', '01', '00000002');
const WELL = HEAD + line('01004D0A:23A3', '02004D0A:EA6A', '01', '00000000');
const peer = { localPort: 9123, remoteAddress: '10.77.0.2', remotePort: 60_010 };
const onVanished = jest.fn();
const watched = { peer, onVanished };

describe('the table of connections', () => {
  it('tells the established peers to which segments are sent again', () => {
    const table =
      HEAD +
      line('0100007F:0BB8', '0100007F:C350', '01', '00000000') +
      line('01004D0A:23A3', '02004D0A:EA6A', '01', '00000002') +
      line('01004D0A:23A3', '03004D0A:EA6B', '04', '00000002');
    expect([...retransmitting(table)]).toEqual(['9123 10.77.0.2 60010']);
  });

  it('spells addresses of IPv6 as the URL standard does', () => {
    const table =
      HEAD +
      line('00000000000000000000000001000000:0BB8', '00000000000000000000000001000000:C350', '01', '00000001') +
      line('0000000000000000FFFF00000100007F:0BB8', '0000000000000000FFFF00000200007F:C351', '01', '0000000A');
    expect([...retransmitting(table)]).toEqual(['3000 [::1] 50000', '3000 [::ffff:7f00:2] 50001']);
  });

  it('tells nobody where there is nothing to read', () => {
    expect([...retransmitting('')]).toEqual([]);
  });
});

describe('a watch for vanished peers', () => {
  let table = WELL;
  const readTable = (path: string): Promise<string> =>
    path.endsWith('tcp6') ? Promise.reject(new Error('no such table')) : Promise.resolve(table);
  const watchPeers = (): VanishedPeers => new VanishedPeers({ lookMs: 1_000, deadlineMs: 5_000, readTable });

  beforeEach(() => {
    jest.useFakeTimers();
    onVanished.mockClear();
    table = WELL;
  });

  afterEach(() => {
    jest.useRealTimers();
  });

  it('calls back once, when a peer has acknowledged nothing for the deadline', async () => {
    const peers = watchPeers();
    peers.watch(watched);
    table = SILENT;
    await jest.advanceTimersByTimeAsync(5_999);
    expect(onVanished).not.toHaveBeenCalled();
    await jest.advanceTimersByTimeAsync(10_000);
    expect(onVanished).toHaveBeenCalledTimes(1);
    peers.unwatch(watched);
  });

  it('begins anew when the peer acknowledged in between', async () => {
    const peers = watchPeers();
    peers.watch(watched);
    table = SILENT;
    await jest.advanceTimersByTimeAsync(4_000);
    table = WELL;
    await jest.advanceTimersByTimeAsync(1_000);
    table = SILENT;
    await jest.advanceTimersByTimeAsync(5_000);
    expect(onVanished).not.toHaveBeenCalled();
    peers.unwatch(watched);
  });

  it('leaves another peer of the same port alone', async () => {
    const peers = watchPeers();
    const other = { onVanished, peer: { ...peer, remoteAddress: '10.77.0.3' } };
    peers.watch(other);
    table = SILENT;
    await jest.advanceTimersByTimeAsync(20_000);
    expect(onVanished).not.toHaveBeenCalled();
    peers.unwatch(other);
  });

  it('has no timer when nobody is watched', () => {
    const peers = watchPeers();
    const other = { ...watched };
    peers.watch(watched);
    peers.watch(other);
    expect(jest.getTimerCount()).toBe(1);
    peers.unwatch(watched);
    expect(jest.getTimerCount()).toBe(1);
    peers.unwatch(other);
    expect(jest.getTimerCount()).toBe(0);
  });
});
