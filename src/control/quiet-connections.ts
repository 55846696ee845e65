import type { Server } from 'node:http';
import type { Socket } from 'node:net';

/**
 * Knows on which connections of a server nothing is being answered, to end them when the server closes. Node's own
 * `closeIdleConnections` leaves open what never asked anything, for over a minute: undici (fetch) opens such a connection
 * after a call that it aborted.
 * @returns what ends them, now and as soon as the answers in hand are given
 */
export function watchQuietConnections(server: Server): () => void {
  const quiet = new Set<Socket>();
  let isClosing = false;
  server.on('connection', (socket: Socket) => {
    quiet.add(socket);
    socket.once('close', () => quiet.delete(socket));
  });
  server.on('request', ({ socket }, response) => {
    quiet.delete(socket);
    response.once('close', () => {
      if (isClosing) socket.destroySoon();
      else if (!socket.destroyed) quiet.add(socket);
    });
  });
  return () => {
    isClosing = true;
    for (const socket of quiet) socket.destroySoon();
  };
}
