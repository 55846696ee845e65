import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer, type AddressInfo, type Socket } from 'node:net';
import { describe, it } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { connect, cut } from '../../../../src/sinks/redis/client.ts';

describe('a connection to Redis that is cut', () => {
  it('sends nothing more of what was on its way: its buffers may be others’ by then', async () => {
    const server = createServer({ pauseOnConnect: true }).listen(0, '127.0.0.1');
    await once(server, 'listening');
    const { port } = server.address() as AddressInfo;
    const accepted = once(server, 'connection') as Promise<[Socket]>;
    const client = await connect(
      { host: '127.0.0.1', port },
      { servers: { db: 0, isTls: false }, credentials: {}, commandTimeoutMs: 60_000 },
      AbortSignal.timeout(5_000),
    );
    const [socket] = await accepted;
    const bytes = Buffer.alloc(64 << 20, 'a'); // more than the kernel takes of what nobody reads
    const asked = client.set('key', bytes).catch((error: unknown) => error);
    await sleep(100);
    cut(client);
    bytes.fill('b');
    const arrived: Buffer[] = [];
    socket.on('data', (some: Buffer) => arrived.push(some));
    socket.on('error', () => undefined);
    socket.resume();
    await once(socket, 'close');
    assert.ok((await asked) instanceof Error);
    server.close();
    const text = Buffer.concat(arrived);
    assert.ok(text.length < bytes.length, `${text.length} bytes have arrived`);
    assert.ok(!text.includes('b'.repeat(64)), 'of what the buffer has now nothing arrived');
  });
});
