import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Redis } from 'ioredis';
import { RedisServer } from '../../src/demo/redis-server.ts';
import { WorkDir } from '../../src/demo/work-dir.ts';
import type { RedisServers } from '../../src/sinks/redis/settings.ts';
import { eventually } from './eventually.ts';
import { isAppended, serverAt, startRedis } from './redis.ts';

const MASTER = 'mymaster';
/** Where nobody is. */
const NOBODY = 1;
/** When the sentinel takes a server that does not answer for gone. */
const DOWN_AFTER_MS = 700;

export interface RedisPairOptions {
  /** Whether the sentinel replaces a master in {@link RedisPair.failOver} alone: one that crashes has the time to come back. */
  readonly isPatient?: boolean;
  /** Of both servers. */
  readonly settings?: Readonly<Record<string, string | number>>;
}

const PATIENT_MS = 60_000;
/** Before a failover the master goes on alone for so long. Longer, and streams wait for the replica. */
const CUT_OFF_MS = 500;

/** Two servers, one the replica of the other, and a sentinel that makes it the master where that is gone. */
export class RedisPair implements AsyncDisposable {
  readonly #both: readonly [RedisServer, RedisServer];
  readonly #sentinel: RedisServer;
  readonly #isPatient: boolean;

  private constructor(both: readonly [RedisServer, RedisServer], sentinel: RedisServer, isPatient: boolean) {
    this.#both = both;
    this.#sentinel = sentinel;
    this.#isPatient = isPatient;
  }

  /** Resolves when they are whole. */
  static async start({ isPatient = false, settings = {} }: RedisPairOptions = {}): Promise<RedisPair> {
    const [one, two, dir] = await Promise.all([
      startRedis({ settings }),
      startRedis({ settings }),
      WorkDir.create('spoor-test-sentinel'),
    ]);
    await two.withClient((client) => client.replicaof('127.0.0.1', one.port));
    const file = join(dir.path, 'sentinel.conf');
    const conf = [
      `sentinel monitor ${MASTER} 127.0.0.1 ${one.port} 1`,
      `sentinel down-after-milliseconds ${MASTER} ${isPatient ? PATIENT_MS : DOWN_AFTER_MS}`,
      `sentinel failover-timeout ${MASTER} 3000`,
    ];
    await writeFile(file, conf.map((line) => `${line}\n`).join(''));
    const sentinel = await RedisServer.start({ dir: dir.path, sentinelFile: file });
    const pair = new RedisPair([one, two], sentinel, isPatient);
    await pair.isWhole();
    return pair;
  }

  get url(): string {
    return `redis+sentinel://127.0.0.1:${this.#sentinel.port}/${MASTER}`;
  }

  get servers(): RedisServers {
    return serverAt(this.#sentinel.port, { kind: 'sentinel', masterName: MASTER });
  }

  /** As the sentinel says. */
  async master(): Promise<RedisServer> {
    const [, port] = (await this.#sentinel.withClient((client) =>
      client.call('SENTINEL', 'get-master-addr-by-name', MASTER),
    )) as [string, string];
    return this.#both.find((each) => each.port === Number(port))!;
  }

  async withMaster<T>(work: (client: Redis) => Promise<T>): Promise<T> {
    return (await this.master()).withClient(work);
  }

  /** Resolves when the one has all that the other has, and the sentinel would let it take over. */
  async isWhole(): Promise<void> {
    await eventually('the pair is whole', async () => {
      const master = await this.master();
      const known = await this.#sentinel.withClient((client) => client.call('SENTINEL', 'replicas', MASTER));
      const [of, ofOther] = await Promise.all([factsOf(master), factsOf(this.#otherThan(master))]);
      return (
        (known as unknown[]).length === 1 &&
        of['role'] === 'master' &&
        /state=online/.test(of['slave0'] ?? '') &&
        ofOther['master_port'] === String(master.port) &&
        ofOther['master_link_status'] === 'up' &&
        // A replica that was filled writes its file anew.
        [of, ofOther].every((facts) => facts['aof_rewrite_in_progress'] === '0')
      );
    });
  }

  /**
   * The replica is cut off, the master killed a while later, the replica made the master, and the old one comes back as its replica.
   * @param count of what the master holds
   * @param isEnough whether it may end also where the master got nothing meanwhile that nobody else will ever have
   * @returns how much of what the master had is lost
   */
  async failOver(count: (client: Redis) => Promise<number>, isEnough: () => boolean): Promise<number> {
    const old = await this.master();
    const other = this.#otherThan(old);
    await other.withClient((client) => client.replicaof('127.0.0.1', NOBODY));
    // Counted before it is the master: who lost something there ships it again at once.
    const left = await other.withClient(count);
    const shared = await old.withClient(count);
    await eventually('the master has what nobody else will ever have', async () => {
      return isEnough() || (await old.withClient(count)) > shared;
    });
    await sleep(CUT_OFF_MS);
    const before = await old.withClient(count);
    await old.kill();
    await this.#setDownAfter(DOWN_AFTER_MS);
    await eventually('the replica is the master', async () => {
      return (await this.master()) === other && (await factsOf(other))['role'] === 'master';
    });
    await old.restart(['--replicaof', '127.0.0.1', String(other.port)]);
    if (this.#isPatient) await this.#setDownAfter(PATIENT_MS);
    await this.isWhole();
    return before - left;
  }

  /** Both at once, so that neither can take over, and with all that was answered before. */
  async kill(): Promise<void> {
    const master = await this.master();
    await Promise.all(this.#both.map(isAppended));
    await this.#otherThan(master).kill();
    await master.kill();
  }

  async restart(): Promise<void> {
    const master = await this.master();
    await master.restart();
    await this.#otherThan(master).restart(['--replicaof', '127.0.0.1', String(master.port)]);
    await this.isWhole();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#sentinel[Symbol.asyncDispose]();
    await Promise.all(this.#both.map((each) => each[Symbol.asyncDispose]()));
  }

  async #setDownAfter(ms: number): Promise<void> {
    await this.#sentinel.withClient((client) =>
      client.call('SENTINEL', 'SET', MASTER, 'down-after-milliseconds', String(ms)),
    );
  }

  #otherThan(server: RedisServer): RedisServer {
    return this.#both.find((each) => each !== server)!;
  }
}

/** What INFO says of replication and persistence. */
async function factsOf(server: RedisServer): Promise<Readonly<Record<string, string>>> {
  const text = await server.withClient((client) => client.info('replication', 'persistence'));
  const lines = text.split('\r\n').filter((line) => line.includes(':'));
  return Object.fromEntries(lines.map((line) => [line.slice(0, line.indexOf(':')), line.slice(line.indexOf(':') + 1)]));
}
