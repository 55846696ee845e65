import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Socket } from 'node:net';
import type { Listener } from './listener.ts';

/**
 * Knows on which connections of a server nothing is being answered, to end them when the server closes. Node's own
 * `closeIdleConnections` leaves open what never asked anything, for over a minute: undici (fetch) opens such a connection
 * after a call that it aborted.
 * @returns what ends them, now and as soon as the answers in hand are given
 */
export function watchQuietConnections(server: Listener): () => void {
  // By address and port, by which a TLS connection and the plain one under it are known to be one.
  const quiet = new Map<string, Socket>();
  let isClosing = false;
  const add = (socket: Socket): void => {
    const key = keyOf(socket);
    quiet.set(key, socket);
    socket.once('close', () => {
      if (quiet.get(key) === socket) quiet.delete(key);
    });
  };
  server.on('connection', add);
  server.on('secureConnection', add);
  server.on('request', ({ socket }: IncomingMessage, response: ServerResponse) => {
    const key = keyOf(socket);
    quiet.delete(key);
    response.once('close', () => {
      if (isClosing) socket.destroySoon();
      else if (!socket.destroyed) quiet.set(key, socket);
    });
  });
  return () => {
    isClosing = true;
    for (const socket of quiet.values()) socket.destroySoon();
  };
}

function keyOf({ remoteAddress, remotePort }: Socket): string {
  return `${remoteAddress} ${remotePort}`;
}
