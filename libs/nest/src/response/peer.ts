/** Whether the peer of a response is still there; Node tells it in different places for HTTP/1, HTTP/2 and a response in a queue. */
import type { ServerResponse } from 'node:http';
import type { Http2ServerResponse } from 'node:http2';

/** Whether nothing can be sent any more: the peer left, or the response was ended. */
export function isGone(response: ServerResponse): boolean {
  if (response.writableEnded) return true;
  // A response of HTTP/2 has no `destroyed`, its stream has.
  const { stream } = response as { readonly stream?: Http2ServerResponse['stream'] };
  if (stream !== undefined) return stream.destroyed || stream.closed;
  return response.destroyed || response.req.socket.destroyed;
}

/** Calls back once when the peer has left, or has been sent everything after the response was ended. */
export function onGone(response: ServerResponse, listener: (this: ServerResponse) => void): void {
  // It comes once; `once` would keep a wrapper and its state for each response.
  response.on('close', listener);
  if (response.req.httpVersionMajor !== 1 || response.socket !== null) return;
  // Pipelined: it waits behind another response for its socket. When that socket goes, Node does not tell those in the queue.
  const { socket } = response.req;
  socket.setMaxListeners(socket.getMaxListeners() + 1);
  const onClose = (): void => {
    response.off('close', listener);
    listener.call(response);
  };
  socket.once('close', onClose);
  response.once('close', () => {
    socket.off('close', onClose);
    socket.setMaxListeners(socket.getMaxListeners() - 1);
  });
}
