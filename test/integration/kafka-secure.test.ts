import assert from 'node:assert/strict';
import { copyFile, readFile, writeFile } from 'node:fs/promises';
import { after, before, describe, it, type TestContext } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { runCommand } from '../../src/demo/run-command.ts';
import { spoorCommand, type SidecarProcess } from '../../src/demo/sidecar-process.ts';
import { serversMissing } from '../support/cluster.ts';
import { eventually } from '../support/eventually.ts';
import { javaTool } from '../support/java-tools.ts';
import { setScramPassword } from '../support/kafka-scram.ts';
import { Load } from '../support/load.ts';
import { SecretHunt } from '../support/secret-hunt.ts';
import { SecureKafka } from '../support/secure-kafka.ts';
import { isCaughtUp, SpoorCluster } from '../support/spoor-cluster.ts';
import { grant, TokenEndpoint } from '../support/token-endpoint.ts';
import { joinPem } from '../support/test-authority.ts';

const RATE = 500;
/** Shorter than what kafkajs leaves of a session before it renews it. */
const SESSION_S = 6;
const TOKEN_LIFE_S = 12;
const RENEWAL_FAILED = /ECONNREFUSED.*the token for kafka is not renewed, trying again/;
const SECRETS = {
  oauthFirst: 'oauth-secret-one/+&=%',
  oauthSecond: 'oauth-secret-two/+&=%',
  scramFirst: 'scram-password-one',
  scramSecond: 'scram-password-two',
};

/** Which nobody takes. */
const WRONG = {
  password: 'marked-scram-password',
  clientSecret: 'marked-client-secret/+ &=',
  registryPassword: 'marked-registry-password/+ &=',
  registryToken: 'marked-registry-token',
};

describe('Kafka on a secure cluster', { skip: await serversMissing(), timeout: 600_000 }, () => {
  let secure: SecureKafka;
  let cluster: SpoorCluster;
  before(async () => {
    secure = await SecureKafka.start({
      ...{ sessionMs: SESSION_S * 1000, tokenLifeS: TOKEN_LIFE_S, oauthSecret: SECRETS.oauthFirst },
    });
    cluster = await SpoorCluster.start({
      tservers: 1,
      kafka: secure.options,
      env: { ...secure.kdc.env, SPOOR_SYSTEM_TABLE_REPLICAS: '1', SPOOR_LOG_LEVEL: 'trace' },
    });
    await setScramPassword(cluster.kafka, 'spoor', SECRETS.scramFirst);
  });
  after(async () => {
    await cluster[Symbol.asyncDispose]();
    await secure[Symbol.asyncDispose]();
  });

  const brokersAt = (listener: string): Record<string, string> => ({
    SPOOR_KAFKA_BROKERS: cluster.kafka.brokersAt(listener).join(),
  });

  /** Sidecars by these settings ship a table that is written to while `during` runs; what arrived is the table. */
  async function shipping(
    t: TestContext,
    name: string,
    env: Readonly<Record<string, string>>,
    during: (lag: LagWatch) => Promise<void>,
  ): Promise<void> {
    await cluster.replaceSidecars(env);
    const table = `${name}.rows`;
    await javaTool('create-table', { masters: cluster.masters, table, shape: 'small', replicas: 1 });
    await cluster.createStream(name, [table]);
    await cluster.waitForTablets(name, ({ state }) => state === 'running');
    using load = Load.start(cluster, table, { rate: RATE });
    {
      await using lag = new LagWatch(cluster, name);
      await lag.caughtUp(); // the first records wait for topics, and a JVM that is not warm
      lag.maxS = 0;
      await during(lag);
      t.diagnostic(
        `${lag.maxS.toFixed(1)} s late at most${lag.errors.size > 0 ? `; ${[...lag.errors].join('; ')}` : ''}`,
      );
    }
    const { applied } = await load.stop();
    await cluster.waitForTablets(name, isCaughtUp);
    await cluster.assertFoldIsTable(name, table, applied);
    t.diagnostic(`${applied} rows`);
    await verify(name, env);
    await cluster.api('DELETE', `/v1/streams/${name}`);
  }

  /** The command reaches the brokers in the same way: as a process of its own, whose environment Kerberos looks at. */
  async function verify(stream: string, env: Readonly<Record<string, string>>): Promise<void> {
    const [command, ...args] = spoorCommand();
    const { exitCode, output } = await runCommand(command, [...args, 'verify', stream], {
      cwd: cluster.dir,
      env: {
        ...process.env,
        ...secure.kdc.env,
        ...env,
        SPOOR_KUDU_MASTERS: cluster.masters,
        SPOOR_HTTP_LISTEN: cluster.sidecars[0]!.url.replace('http://', ''),
      },
    });
    assert.equal(exitCode, 0, output);
  }

  const sidecarLog = (): Promise<string> => readFile(cluster.sidecars[0]!.logFile, 'utf8');

  it('ships by OAuth over the ends of tokens, a new client secret, and an endpoint that is away', async (t) => {
    const secretFile = secure.file('oauth-secret');
    await writeFile(secretFile, SECRETS.oauthFirst);
    const env = {
      ...brokersAt('OAUTH'),
      SPOOR_KAFKA_SSL_CA_FILE: secure.authority.cert,
      SPOOR_KAFKA_SASL_MECHANISM: 'oauthbearer',
      SPOOR_KAFKA_OAUTH_TOKEN_URL: secure.oauth.tokenUrl,
      SPOOR_KAFKA_OAUTH_CLIENT_ID: 'spoor',
      SPOOR_KAFKA_OAUTH_CLIENT_SECRET_FILE: secretFile,
      SPOOR_KAFKA_OAUTH_SCOPE: secure.oauth.scope,
    };
    await shipping(t, 'oauth', env, async (lag) => {
      const [before, startedMs] = [secure.oauth.tokens.length, performance.now()];
      await lag.withoutErrors(2.5 * TOKEN_LIFE_S);
      const used = secure.oauth.tokens.length - before;
      const most = (performance.now() - startedMs) / 1000 / (0.8 * TOKEN_LIFE_S) + 1; // each renewed when that is over
      assert.ok(used >= 2 && used <= most, `one token after the other, whatever connections there are: ${used}`);
      assert.equal(secure.oauth.refused, 0);
      secure.oauth.changeSecret(SECRETS.oauthSecond);
      await writeFile(secretFile, `${SECRETS.oauthSecond}\n`);
      await lag.withoutErrors(1.5 * TOKEN_LIFE_S);
      const reason = /no token for Kafka from https:\/\/127\.0\.0\.1:\d+\/token: .*ECONNREFUSED/;
      // Who stands still for the last fifth of a token's life has nothing left to warn of.
      let times = 0;
      do {
        lag.errors.clear();
        await secure.oauth.away();
        await lag.until(() => [...lag.errors].some((error) => reason.test(error)), 3 * TOKEN_LIFE_S);
        await secure.oauth.back();
        await lag.caughtUp();
      } while (++times < 3 && !RENEWAL_FAILED.test(await sidecarLog()));
    });
    assert.match(await sidecarLog(), RENEWAL_FAILED);
  });

  it('ships by Kerberos, over the ends of sessions', async (t) => {
    const env = {
      ...brokersAt('KERBEROS'),
      SPOOR_KAFKA_SSL_CA_FILE: secure.authority.cert,
      SPOOR_KAFKA_SASL_MECHANISM: 'gssapi',
      SPOOR_KUDU_PRINCIPAL: 'spoor',
      SPOOR_KUDU_KEYTAB: secure.keytab,
    };
    await shipping(t, 'kerberos', env, async (lag) => {
      await lag.withoutErrors(3 * SESSION_S);
    });
  });

  it('says no secret anywhere, whatever is wrong with it', async (t) => {
    await using endpoint = await TokenEndpoint.start(); // of tokens, and what takes itself for a registry
    endpoint.answer = (response, { authorization }) => {
      const [, credentials = ''] = authorization.split(' ');
      const said = `no: ${credentials}, ${Buffer.from(credentials, 'base64').toString()}`;
      grant(response, { error: 'invalid_client', error_description: said, error_code: 401, message: said }, 401);
    };
    const client = await secure.authority.issue('marked');
    const hunt = new SecretHunt({
      ...SECRETS,
      ...WRONG,
      key: await readFile(client.key, 'utf8'),
    });
    const tls = {
      SPOOR_KAFKA_SSL_CA_FILE: secure.authority.cert,
      SPOOR_KAFKA_SSL_CERT_FILE: client.cert,
      SPOOR_KAFKA_SSL_KEY_FILE: client.key,
    };
    const ways = {
      oauth: {
        ...brokersAt('OAUTH'),
        SPOOR_KAFKA_SASL_MECHANISM: 'oauthbearer',
        SPOOR_KAFKA_OAUTH_TOKEN_URL: endpoint.url,
        SPOOR_KAFKA_OAUTH_CLIENT_ID: 'spoor',
        SPOOR_KAFKA_OAUTH_CLIENT_SECRET: WRONG.clientSecret,
        SPOOR_REGISTRY_USERNAME: 'somebody',
        SPOOR_REGISTRY_PASSWORD: WRONG.registryPassword,
      },
      scram: {
        ...brokersAt('SCRAM'),
        SPOOR_KAFKA_SASL_MECHANISM: 'scram-sha-512',
        SPOOR_KAFKA_SASL_USERNAME: 'spoor',
        SPOOR_KAFKA_SASL_PASSWORD: WRONG.password,
        SPOOR_REGISTRY_TOKEN: WRONG.registryToken,
      },
      plain: { SPOOR_REGISTRY_TOKEN: WRONG.registryToken, SPOOR_KAFKA_BROKERS: cluster.kafka.brokers.join() },
    };
    await javaTool('create-table', { masters: cluster.masters, table: 'hunt.rows', shape: 'small', replicas: 1 });
    for (const [way, env] of Object.entries(ways)) {
      await cluster.replaceSidecars(
        { ...tls, ...(way === 'plain' ? { SPOOR_KAFKA_SSL_CA_FILE: '' } : {}), ...env },
        { ready: false },
      );
      const [{ url, pid }] = cluster.sidecars as [SidecarProcess];
      const format = { type: 'avro', registry: new URL('/', endpoint.url).href };
      const stream = `hunt-${way}`;
      const definition = { name: stream, tables: ['hunt.*'], format, sink: { type: 'kafka', topic: `${way}.{table}` } };
      await eventually('the stream is made', async () => {
        const { status, body } = await cluster.api('POST', '/v1/streams', definition);
        assert.equal(status, 201, JSON.stringify(body));
        return true;
      });
      hunt.look(
        'a dry run',
        JSON.stringify(await cluster.api('POST', '/v1/streams?dryRun=true', { ...definition, name: 'dry' })),
      );
      using load = Load.start(cluster, 'hunt.rows', { rate: RATE });
      await cluster.waitForTablets(stream, ({ state }) => state === 'blocked');
      for (const path of ['/openapi.json', '/metrics', '/readyz', '/v1/streams', `/v1/streams/${stream}`, '/v1/local'])
        hunt.look(`${way}: ${path}`, await (await fetch(`${url}${path}`)).text());
      hunt.lookAtArguments(pid);
      const [command, ...args] = spoorCommand();
      const shell = {
        cwd: cluster.dir,
        env: { ...process.env, ...tls, ...env, SPOOR_KUDU_MASTERS: cluster.masters, SPOOR_HTTP_LISTEN: url.slice(7) },
      };
      for (const words of [['status'], ['streams', 'show', stream], ['verify', stream, '--timeout', '5']])
        hunt.look(`${way}: ${words.join(' ')}`, (await runCommand(command, [...args, ...words], shell)).output);
      await load.stop();
      await cluster.api('DELETE', `/v1/streams/${stream}`);
    }
    assert.ok(endpoint.requests.length > 0, 'somebody was told them');
    hunt.assertNothing(27);
    t.diagnostic(`${hunt.bytes} bytes were looked at`);
  });

  it('takes a new CA, client certificate and password from their files, under load', async (t) => {
    const [first, second] = [await secure.authority.issue('client'), await secure.newAuthority('second-ca')];
    const files = {
      SPOOR_KAFKA_SSL_CA_FILE: secure.file('client-trusted.pem'),
      SPOOR_KAFKA_SSL_CERT_FILE: secure.file('client.pem'),
      SPOOR_KAFKA_SSL_KEY_FILE: secure.file('client.key'),
      SPOOR_KAFKA_SASL_PASSWORD_FILE: secure.file('client-password'),
    };
    await copyFile(secure.authority.cert, files.SPOOR_KAFKA_SSL_CA_FILE);
    await copyFile(first.cert, files.SPOOR_KAFKA_SSL_CERT_FILE);
    await copyFile(first.key, files.SPOOR_KAFKA_SSL_KEY_FILE);
    await writeFile(files.SPOOR_KAFKA_SASL_PASSWORD_FILE, SECRETS.scramFirst);
    const sasl = { SPOOR_KAFKA_SASL_MECHANISM: 'scram-sha-512', SPOOR_KAFKA_SASL_USERNAME: 'spoor' };
    await shipping(t, 'scram', { ...brokersAt('SCRAM'), ...files, ...sasl }, async (lag) => {
      const { pid } = cluster.sidecars[0]!;
      await lag.withoutErrors(2 * SESSION_S);

      // In this order: Kafka's tool takes long on a busy machine, and who is refused again and again waits for longer.
      await setScramPassword(cluster.kafka, 'spoor', SECRETS.scramSecond);
      await writeFile(files.SPOOR_KAFKA_SASL_PASSWORD_FILE, SECRETS.scramSecond);
      await sleep(2 * SESSION_S * 1000); // all sessions were renewed, with the new one
      await lag.caughtUp();
      lag.errors.clear(); // who came between the two was refused

      // A key that is not the certificate's stays outside.
      const other = await second.issue('client');
      await copyFile(other.cert, files.SPOOR_KAFKA_SSL_CERT_FILE);
      await lag.until(async () => (await sidecarLog()).includes('is not the key of SPOOR_KAFKA_SSL_CERT'), 10);
      await copyFile(other.key, files.SPOOR_KAFKA_SSL_KEY_FILE);
      await joinPem(files.SPOOR_KAFKA_SSL_CA_FILE, [secure.authority.cert, second.cert]);
      await sleep(4_000);
      // From here on nothing of the first CA is any good.
      await secure.serveAs(await second.issue('broker'), [second.cert]);
      await cluster.kafka.restart();
      await lag.caughtUp();
      assert.equal(cluster.sidecars[0]!.pid, pid);
      assert.ok(
        [...lag.errors].every((error) => !/TLS|authenticate/.test(error)),
        [...lag.errors].join(),
      );
    });
  });

  it('has logged no secret, at the level trace, old or new', async (t) => {
    const hunt = new SecretHunt({
      ...SECRETS,
      ...WRONG,
      ...Object.fromEntries(secure.oauth.tokens.map((token, number) => [`token ${number}`, token])),
    });
    hunt.look("all sidecars' log", await sidecarLog());
    hunt.assertNothing(1);
    t.diagnostic(`${hunt.bytes} bytes, ${secure.oauth.tokens.length} tokens`);
  });
});

/** How late a stream is, and what its tablets complain of, from the beginning of its life to its end. */
class LagWatch implements AsyncDisposable {
  readonly #stop = new AbortController();
  readonly #watching: Promise<void>;
  readonly #cluster: SpoorCluster;
  readonly #stream: string;
  readonly errors = new Set<string>();
  maxS = 0;

  constructor(cluster: SpoorCluster, stream: string) {
    [this.#cluster, this.#stream] = [cluster, stream];
    this.#watching = this.#watch();
  }

  async #watch(): Promise<void> {
    while (!this.#stop.signal.aborted) {
      for (const { lagSeconds, error } of await this.#cluster.tablets(this.#stream)) {
        this.maxS = Math.max(this.maxS, lagSeconds ?? 0);
        if (error) this.errors.add(error.message);
      }
      await sleep(100);
    }
  }

  /** @throws {Error} when it does not come true in time */
  async until(isSo: () => boolean | Promise<boolean>, withinS: number): Promise<void> {
    const deadline = performance.now() + withinS * 1000;
    while (!(await isSo())) {
      if (performance.now() > deadline) throw new Error(`not within ${withinS} s; ${[...this.errors].join('; ')}`);
      await sleep(100);
    }
  }

  /**
   * Resolves behind so long a time without errors. A session that is not renewed has one in each such time; one that is
   * renewed has one where the machine stands still for the second that was left of it.
   * @throws {AssertionError} there was one each time
   */
  async withoutErrors(seconds: number): Promise<void> {
    for (let times = 1; ; times++) {
      this.errors.clear();
      await sleep(seconds * 1000);
      if (this.errors.size === 0) return;
      assert.ok(times < 5, [...this.errors].join('; '));
    }
  }

  /** Under load that is less than so many seconds. */
  async caughtUp(): Promise<void> {
    await this.until(async () => {
      const tablets = await this.#cluster.tablets(this.#stream);
      return tablets.every(({ state, lagSeconds }) => state === 'running' && (lagSeconds ?? 0) < 1);
    }, 180);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#stop.abort();
    await this.#watching;
  }
}
