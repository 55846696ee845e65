import { setTimeout as sleep } from 'node:timers/promises';
import { Redis } from 'ioredis';
import { ChangeTally } from './change-tally.ts';

const ENTRIES_AT_A_TIME = 1_000;
const BLOCK_MS = 100;
const AGAIN_MS = 200;

/** Reads a stream key of Redis as a reader would, from the beginning: entries in Debezium Server's `extended` layout. */
export class StreamWatcher implements AsyncDisposable {
  readonly tally: ChangeTally;
  readonly #client: Redis;
  readonly #reading: Promise<void>;
  #isClosed = false;

  private constructor(client: Redis, key: string) {
    this.#client = client;
    this.tally = new ChangeTally();
    this.#reading = this.#read(key);
  }

  static async open(port: number, key: string): Promise<StreamWatcher> {
    const client = new Redis({ host: '127.0.0.1', port, lazyConnect: true });
    client.on('error', () => undefined); // it connects anew by itself
    await client.connect();
    return new StreamWatcher(client, key);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#isClosed = true;
    this.#client.disconnect();
    await this.#reading;
  }

  async #read(key: string): Promise<void> {
    for (let after = '0-0'; ;) {
      let answer: Awaited<ReturnType<Redis['xread']>>;
      try {
        answer = await this.#client.xread('COUNT', ENTRIES_AT_A_TIME, 'BLOCK', BLOCK_MS, 'STREAMS', key, after);
      } catch {
        if (this.#isClosed) return;
        await sleep(AGAIN_MS); // the server is away
        continue;
      }
      for (const [id, fields] of answer?.[0]?.[1] ?? []) {
        const [, name = '', , value = '', , position = ''] = fields;
        if (value !== 'default') this.tally.see(name, value, `SPOOR.POS=${position}, id ${id}`);
        after = id;
      }
    }
  }
}
