import { connect, createServer } from 'node:net';
import { once } from 'node:events';

/**
 * Below Linux' range for outgoing connections (32768 and up), so that no client socket of any process can take the
 * port of a server while that is down between a kill and a restart.
 */
const FIRST_PORT = 15_000;
const LAST_PORT = 32_000;
const ATTEMPTS = 200;
/**
 * Processes that start servers side by side choose from different parts of it, mostly: a port is free for others, too,
 * while its server is down for a moment.
 */
const PARTS = 8;
const PART_LENGTH = Math.floor((LAST_PORT - FIRST_PORT) / PARTS);

const given = new Set<number>();

/** A port on loopback that is free now and that this process has not been given before. */
export async function freePort(): Promise<number> {
  for (let attempt = 0; attempt < ATTEMPTS; attempt++) {
    const port = FIRST_PORT + (process.pid % PARTS) * PART_LENGTH + Math.floor(Math.random() * PART_LENGTH);
    if (given.has(port) || !(await canListen(port))) continue;
    given.add(port);
    return port;
  }
  throw new Error(`no free port found between ${FIRST_PORT} and ${LAST_PORT}, part ${process.pid % PARTS} of ${PARTS}`);
}

async function canListen(port: number): Promise<boolean> {
  const server = createServer();
  try {
    server.listen(port, '127.0.0.1');
    await once(server, 'listening');
    return true;
  } catch {
    return false;
  } finally {
    server.close();
  }
}

/** Whether something accepts connections there. */
export async function accepts(port: number, signal: AbortSignal): Promise<boolean> {
  const socket = connect(port, '127.0.0.1');
  try {
    await once(socket, 'connect', { signal });
    return true;
  } catch {
    return false;
  } finally {
    socket.destroy();
  }
}
