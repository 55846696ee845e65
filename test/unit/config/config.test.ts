import assert from 'node:assert/strict';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, relative } from 'node:path';
import { after, before, describe, it } from 'node:test';
import fc from 'fast-check';
import { advertisedAddress, loadConfig, secretsOf, type Config } from '../../../src/config/config.ts';
import { makeAuthority } from '../../support/certificates.ts';
import type { Environment } from '../../../src/config/environment.ts';
import { VARIABLE_NAMES, hasFileVariant, variableInfo } from '../../../src/config/variables.ts';

const REQUIRED = { SPOOR_KUDU_MASTERS: 'm1:7051', SPOOR_TSERVER: 'ts:7050', SPOOR_WAL_DIR: '/wal' };
const CERT = '-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----';
const KEY = '-----BEGIN PRIVATE KEY-----\nMIIE\n-----END PRIVATE KEY-----';

let dir: string;
before(() => {
  dir = mkdtempSync(join(tmpdir(), 'spoor-config-'));
});
after(() => {
  rmSync(dir, { recursive: true });
});

function write(name: string, content: string): string {
  const path = join(dir, name);
  writeFileSync(path, content);
  return path;
}

/** Loads in a folder of its own, with `.env` where text is given for it. */
function load(env: Environment, dotenv?: string, user: string | null = 'kudu') {
  const cwd = mkdtempSync(join(dir, 'cwd-'));
  if (dotenv !== undefined) writeFileSync(join(cwd, '.env'), dotenv);
  return loadConfig(env, cwd, { user });
}

function configOf(env: Environment, dotenv?: string): Config {
  const loaded = load({ ...REQUIRED, ...env }, dotenv);
  assert.ok('config' in loaded, 'faults' in loaded ? loaded.faults.join('\n') : '');
  return loaded.config;
}

function faultsOf(env: Environment, dotenv?: string): readonly string[] {
  const loaded = load({ ...REQUIRED, ...env }, dotenv);
  assert.ok('faults' in loaded, 'the configuration was taken');
  return loaded.faults;
}

describe('loadConfig', () => {
  it('has the defaults of the contract', () => {
    assert.deepEqual(configOf({}), {
      mode: 'leader',
      kudu: { masters: ['m1:7051'], user: 'kudu', auth: 'auto', encryption: 'optional', saslProtocolName: 'kudu' },
      tserver: 'ts:7050',
      walDir: '/wal',
      hold: { dir: '/wal/spoor-hold', server: false, maxBytes: 0, maxAgeS: 0, minFreePercent: 10 },
      kafka: { brokers: null, tls: null, sasl: null, files: {} },
      registry: { files: {} },
      redis: { servers: null, files: {} },
      http: {
        listen: { host: '127.0.0.1', port: 8100 },
        advertise: null,
        credentials: { tokens: null, tls: null },
        files: {},
      },
      systemTables: { prefix: 'spoor.', replicas: 3 },
      markerIntervalMs: 1000,
      gapRepair: 'auto',
      nice: 10,
      niceMaxLagS: 5,
      logLevel: 'info',
    });
  });

  it('takes every variable', () => {
    const config = configOf({
      SPOOR_MODE: 'leader',
      SPOOR_KUDU_MASTERS: 'm1:7051, m2:7051,[::1]:7053',
      SPOOR_HOLD_DIR: '/wal/held',
      SPOOR_HOLD_SERVER: 'on',
      SPOOR_KUDU_USER: 'impala',
      SPOOR_KUDU_AUTH: 'kerberos',
      SPOOR_KUDU_ENCRYPTION: 'required',
      SPOOR_KUDU_PRINCIPAL: 'spoor@EXAMPLE.COM',
      SPOOR_KUDU_KEYTAB: '/etc/spoor/spoor.keytab',
      SPOOR_KUDU_SASL_PROTOCOL_NAME: 'kuduserver',
      SPOOR_KUDU_CA: CERT,
      SPOOR_KAFKA_BROKERS: 'b1:9092,b2:9092',
      SPOOR_KAFKA_SSL: 'true',
      SPOOR_KAFKA_SSL_CA: CERT,
      SPOOR_KAFKA_SSL_CERT: CERT,
      SPOOR_KAFKA_SSL_KEY: KEY,
      SPOOR_KAFKA_SASL_MECHANISM: 'SCRAM-SHA-512',
      SPOOR_KAFKA_SASL_USERNAME: 'spoor',
      SPOOR_KAFKA_SASL_PASSWORD: 'p w',
      SPOOR_REGISTRY_USERNAME: 'reg',
      SPOOR_REGISTRY_PASSWORD: 'r w',
      SPOOR_REGISTRY_CA: CERT,
      SPOOR_REDIS_URL: 'rediss://u:p@cache:6380/2',
      SPOOR_HTTP_LISTEN: '0.0.0.0:0',
      SPOOR_HTTP_ADVERTISE: 'node-1:8100',
      SPOOR_HTTP_TOKEN: 't0ken',
      SPOOR_SYSTEM_TABLE_PREFIX: 'cdc.',
      SPOOR_SYSTEM_TABLE_REPLICAS: '1',
      SPOOR_MARKER_INTERVAL_MS: '250',
      SPOOR_GAP_REPAIR: 'manual',
      SPOOR_NICE: '0',
      SPOOR_HOLD_MAX_BYTES: '10737418240',
      SPOOR_HOLD_MAX_AGE_S: '86400',
      SPOOR_HOLD_MIN_FREE_PERCENT: '25',
      SPOOR_LOG_LEVEL: 'debug',
    });
    assert.deepEqual(config, {
      mode: 'leader',
      kudu: {
        masters: ['m1:7051', 'm2:7051', '[::1]:7053'],
        user: 'impala',
        auth: 'kerberos',
        encryption: 'required',
        saslProtocolName: 'kuduserver',
        kerberos: { principal: 'spoor@EXAMPLE.COM', keytab: '/etc/spoor/spoor.keytab' },
        ca: { value: CERT },
      },
      tserver: 'ts:7050',
      walDir: '/wal',
      hold: { dir: '/wal/held', server: true, maxBytes: 10_737_418_240, maxAgeS: 86_400, minFreePercent: 25 },
      kafka: {
        brokers: ['b1:9092', 'b2:9092'],
        tls: { ca: CERT, cert: CERT, key: KEY },
        sasl: { mechanism: 'scram-sha-512', username: 'spoor', password: 'p w' },
        files: {},
      },
      registry: { basic: { username: 'reg', password: 'r w' }, ca: CERT, files: {} },
      redis: {
        servers: { kind: 'single', hosts: [{ host: 'cache', port: 6380 }], masterName: '', db: 2, isTls: true },
        username: 'u',
        password: 'p',
        files: {},
      },
      http: {
        listen: { host: '0.0.0.0', port: 0 },
        advertise: 'node-1:8100',
        credentials: { tokens: { operate: 't0ken', read: null }, tls: null },
        files: {},
      },
      systemTables: { prefix: 'cdc.', replicas: 1 },
      markerIntervalMs: 250,
      gapRepair: 'manual',
      nice: 0,
      niceMaxLagS: 5,
      logLevel: 'debug',
    });
    assert.deepEqual(secretsOf(config), ['t0ken', 'p w', KEY, 'r w', 'p']);
  });

  it('says who it is to Kudu in one way', () => {
    const [jwt, later] = ['eyJhbGciOiJSUzI1NiJ9.e30.c2ln', 'eyJhbGciOiJSUzI1NiJ9.e30.bGF0ZXI'];
    const { kudu, ...rest } = configOf({ SPOOR_KUDU_AUTH: 'jwt', SPOOR_KUDU_JWT: jwt, SPOOR_KUDU_CA: CERT });
    assert.deepEqual([kudu.auth, kudu.jwt, kudu.ca], ['jwt', { value: jwt }, { value: CERT }]);
    assert.deepEqual(secretsOf({ kudu, ...rest }), [jwt]);
    const file = write('jwt', `${later}\n`);
    const ofFile = configOf({
      SPOOR_KUDU_AUTH: 'jwt',
      SPOOR_KUDU_JWT_FILE: file,
      SPOOR_KUDU_CA_FILE: write('kca', CERT),
    });
    assert.deepEqual(ofFile.kudu.jwt, { file }, 'which is read again when it is needed');
    assert.deepEqual(faultsOf({ SPOOR_KUDU_AUTH: 'jwt' }), [
      'SPOOR_KUDU_JWT: not given; allowed: a JSON Web Token in compact form, three parts with dots between (goes with SPOOR_KUDU_AUTH=jwt)',
      'SPOOR_KUDU_CA: not given; allowed: certificates in PEM (goes with SPOOR_KUDU_AUTH=jwt)',
    ]);
    assert.deepEqual(faultsOf({ SPOOR_KUDU_JWT: jwt, SPOOR_KUDU_CA: CERT }), [
      'SPOOR_KUDU_JWT: got ***; allowed: nothing, unless SPOOR_KUDU_AUTH is jwt; it is auto',
    ]);
    assert.deepEqual(faultsOf({ SPOOR_KUDU_AUTH: 'plain', SPOOR_KUDU_KEYTAB: '/k', SPOOR_KUDU_PRINCIPAL: 'p' }), [
      'SPOOR_KUDU_PRINCIPAL: got "p"; allowed: nothing, unless SPOOR_KUDU_AUTH is auto or kerberos; it is plain',
      'SPOOR_KUDU_KEYTAB: got "/k"; allowed: nothing, unless SPOOR_KUDU_AUTH is auto or kerberos; it is plain',
    ]);
    assert.deepEqual(faultsOf({ SPOOR_KUDU_ENCRYPTION: 'on' }), [
      'SPOOR_KUDU_ENCRYPTION: got "on"; allowed: optional or required',
    ]);
  });

  it('needs no name of the operating system where Kerberos says who it is', () => {
    const loaded = load({ ...REQUIRED, SPOOR_KUDU_AUTH: 'kerberos' }, undefined, null);
    assert.ok('config' in loaded && loaded.config.kudu.user === undefined);
  });

  it('says who it is to a registry in one way, and wholly', () => {
    assert.deepEqual(configOf({ SPOOR_REGISTRY_TOKEN: 't0k' }).registry, { token: 't0k', files: {} });
    assert.deepEqual(secretsOf(configOf({ SPOOR_REGISTRY_TOKEN: 't0k' })), ['t0k']);
    assert.deepEqual(faultsOf({ SPOOR_REGISTRY_USERNAME: 'u', SPOOR_REGISTRY_TOKEN: 't0k' }), [
      'SPOOR_REGISTRY_PASSWORD: not given; allowed: a password (goes with SPOOR_REGISTRY_USERNAME)',
      'SPOOR_REGISTRY_TOKEN: got ***; allowed: nothing, as SPOOR_REGISTRY_USERNAME is given',
    ]);
  });

  it('knows which files it has of a registry, from the root on, so that they can be read again', () => {
    const [token, ca] = [write('token', 't0k\n'), write('ca', CERT)];
    const given = { SPOOR_REGISTRY_TOKEN_FILE: token, SPOOR_REGISTRY_CA_FILE: ca };
    assert.deepEqual(configOf(given).registry, { token: 't0k', ca: CERT, files: { token, ca } });
    const password = write('password', 'p4ss');
    const pair = { SPOOR_REGISTRY_USERNAME: 'u', SPOOR_REGISTRY_PASSWORD_FILE: relative(join(dir, 'x'), password) };
    const loaded = loadConfig({ ...REQUIRED, ...pair }, join(dir, 'x'), { user: 'kudu' });
    assert.ok('config' in loaded);
    assert.deepEqual(loaded.config.registry.files, { password });
  });

  it('has secrets in every form in which a library may quote them', () => {
    const secretsOfUrl = (url: string) => secretsOf(configOf({ SPOOR_REDIS_URL: url }));
    assert.deepEqual(secretsOfUrl('redis://:p%40ss%2Fword@cache:6379'), ['p%40ss%2Fword', 'p@ss/word']);
    assert.deepEqual(secretsOfUrl('redis://:100%25%zz@cache:6379'), ['100%25%zz'], 'it cannot be decoded');
    assert.deepEqual(secretsOfUrl('redis://cache:6379'), []);
  });

  it('is frozen to the bottom', () => {
    const config = configOf({ SPOOR_KAFKA_BROKERS: 'b:1', SPOOR_KAFKA_SSL_CA: CERT });
    const walk = (value: unknown): void => {
      if (typeof value !== 'object' || value === null) return;
      assert.ok(Object.isFrozen(value));
      Object.values(value).forEach(walk);
    };
    walk(config);
  });

  it('takes paths from the folder it is started in', () => {
    const loaded = loadConfig({ ...REQUIRED, SPOOR_WAL_DIR: 'wal', SPOOR_HOLD_DIR: '../held' }, '/srv/kudu', {
      user: 'kudu',
    });
    assert.ok('config' in loaded);
    assert.equal(loaded.config.walDir, '/srv/kudu/wal');
    assert.equal(loaded.config.hold.dir, '/srv/held');
  });

  it('reads line breaks of PEM where the environment cannot hold them', () => {
    assert.deepEqual(configOf({ SPOOR_KAFKA_SSL_CA: CERT.replaceAll('\n', '\\n') }).kafka.tls, { ca: CERT });
  });

  it('speaks TLS to Kafka with no more than SSL=true, and not at all with false', () => {
    assert.deepEqual(configOf({ SPOOR_KAFKA_SSL: 'true' }).kafka.tls, {});
    assert.equal(configOf({ SPOOR_KAFKA_SSL: 'false' }).kafka.tls, null);
  });

  describe('faults', () => {
    const HOST_PORT = 'host:port, the port from 1 to 65535';
    const WRONG: { name: string; given: string; allowed: string }[] = [
      { name: 'SPOOR_MODE', given: 'learner', allowed: 'leader (learner is not supported yet by this version)' },
      { name: 'SPOOR_MODE', given: 'Leader', allowed: 'leader (learner is not supported yet by this version)' },
      { name: 'SPOOR_KUDU_MASTERS', given: 'm1', allowed: 'host:port,host:port,...' },
      { name: 'SPOOR_KUDU_MASTERS', given: 'm1:7051,', allowed: 'host:port,host:port,...' },
      { name: 'SPOOR_KUDU_MASTERS', given: 'm1:7051 m2:7051', allowed: 'host:port,host:port,...' },
      { name: 'SPOOR_TSERVER', given: 'ts:0', allowed: HOST_PORT },
      { name: 'SPOOR_TSERVER', given: 'ts:65536', allowed: HOST_PORT },
      { name: 'SPOOR_TSERVER', given: 'http://ts:7050', allowed: HOST_PORT },
      { name: 'SPOOR_WAL_DIR', given: '/wal\u0000', allowed: 'the path of a folder' },
      {
        name: 'SPOOR_HOLD_DIR',
        given: 'a\nb',
        allowed: 'the path of a folder on the same filesystem as SPOOR_WAL_DIR',
      },
      { name: 'SPOOR_HOLD_SERVER', given: 'true', allowed: 'on or off' },
      { name: 'SPOOR_KUDU_USER', given: 'a\tb', allowed: 'a user name' },
      { name: 'SPOOR_KAFKA_BROKERS', given: 'b:x', allowed: 'host:port,host:port,...' },
      { name: 'SPOOR_KAFKA_SSL', given: 'yes', allowed: 'true or false' },
      { name: 'SPOOR_KAFKA_SSL_CA', given: '/etc/ca.pem', allowed: 'certificates in PEM' },
      { name: 'SPOOR_HTTP_LISTEN', given: '8100', allowed: 'host:port, IPv6 as [::1]:8100; port 0 takes a free one' },
      {
        name: 'SPOOR_HTTP_LISTEN',
        given: '::1:8100',
        allowed: 'host:port, IPv6 as [::1]:8100; port 0 takes a free one',
      },
      { name: 'SPOOR_HTTP_ADVERTISE', given: 'node-1:0', allowed: HOST_PORT },
      { name: 'SPOOR_SYSTEM_TABLE_PREFIX', given: 'a*', allowed: 'at most 200 printable characters without *' },
      { name: 'SPOOR_SYSTEM_TABLE_REPLICAS', given: '2', allowed: '1, 3, 5 or 7' },
      { name: 'SPOOR_MARKER_INTERVAL_MS', given: '0', allowed: 'a whole number of milliseconds from 1 to 3600000' },
      { name: 'SPOOR_MARKER_INTERVAL_MS', given: '1s', allowed: 'a whole number of milliseconds from 1 to 3600000' },
      { name: 'SPOOR_HOLD_MAX_BYTES', given: '-1', allowed: 'a whole number of bytes, 0 for no limit' },
      { name: 'SPOOR_HOLD_MAX_BYTES', given: '1e9', allowed: 'a whole number of bytes, 0 for no limit' },
      { name: 'SPOOR_HOLD_MAX_BYTES', given: '9007199254740993', allowed: 'a whole number of bytes, 0 for no limit' },
      { name: 'SPOOR_HOLD_MIN_FREE_PERCENT', given: '91', allowed: 'a whole number from 0 to 90, 0 for no bound' },
      { name: 'SPOOR_HOLD_MAX_AGE_S', given: '1.5', allowed: 'a whole number of seconds, 0 for no limit' },
      { name: 'SPOOR_GAP_REPAIR', given: 'yes', allowed: 'auto or manual' },
      { name: 'SPOOR_NICE', given: '20', allowed: 'a whole number from 0 to 19' },
      { name: 'SPOOR_NICE', given: '-5', allowed: 'a whole number from 0 to 19' },
      { name: 'SPOOR_LOG_LEVEL', given: 'verbose', allowed: 'trace, debug, info, warn, error, fatal or silent' },
    ];
    for (const { name, given, allowed } of WRONG)
      it(`${name}=${JSON.stringify(given)} is one line with what is allowed`, () => {
        assert.deepEqual(faultsOf({ [name]: given }), [`${name}: got ${JSON.stringify(given)}; allowed: ${allowed}`]);
      });

    it('SASL wants a known mechanism', () => {
      const sasl = { SPOOR_KAFKA_SASL_USERNAME: 'u', SPOOR_KAFKA_SASL_PASSWORD: 'pw' };
      assert.deepEqual(faultsOf({ ...sasl, SPOOR_KAFKA_SASL_MECHANISM: 'digest-md5' }), [
        'SPOOR_KAFKA_SASL_MECHANISM: got "digest-md5"; allowed: plain, scram-sha-256, scram-sha-512, oauthbearer or gssapi',
      ]);
    });

    const SECRETS: [name: string, bad: string][] = [
      ['SPOOR_HTTP_TOKEN', 'has a space'],
      ['SPOOR_REDIS_URL', 'http://user:hunter2@cache'],
    ];
    for (const [name, bad] of SECRETS)
      it(`never shows ${name}`, () => {
        const [fault, ...more] = faultsOf({ [name]: bad });
        assert.deepEqual(more, []);
        assert.ok(fault!.startsWith(`${name}: got ***; allowed: `), fault);
        const fromFile = faultsOf({ [`${name}_FILE`]: write('secret', bad) });
        assert.ok(fromFile[0]!.startsWith(`${name}_FILE: got *** in "`), fromFile[0]);
        assert.ok(![fault, ...fromFile].join('\n').includes(bad));
      });

    it('never shows a private key', () => {
      assert.deepEqual(faultsOf({ SPOOR_KAFKA_SSL_CERT: CERT, SPOOR_KAFKA_SSL_KEY: 'not a key' }), [
        'SPOOR_KAFKA_SSL_KEY: got ***; allowed: a private key in PEM',
      ]);
    });

    it('shortens what would fill the terminal', () => {
      const [fault] = faultsOf({ SPOOR_TSERVER: 'x'.repeat(5000) });
      assert.ok(fault!.length < 300, fault);
    });

    it('lists all at once, each one line', () => {
      const loaded = load({ SPOOR_MODE: 'x', SPOOR_LOG_LEVEL: 'y', SPOOR_FOO: 'z', SPOOR_TSERVER: 'a\nb' });
      assert.ok('faults' in loaded);
      assert.deepEqual(
        loaded.faults.map((fault) => fault.split(':')[0]),
        ['SPOOR_FOO', 'SPOOR_MODE', 'SPOOR_TSERVER', 'SPOOR_LOG_LEVEL', 'SPOOR_KUDU_MASTERS', 'SPOOR_WAL_DIR'],
      );
      assert.ok(loaded.faults.every((fault) => !fault.includes('\n')));
    });
  });

  describe('relations', () => {
    it('asks for what a sidecar cannot be without', () => {
      const loaded = load({});
      assert.ok('faults' in loaded);
      assert.deepEqual(loaded.faults, [
        'SPOOR_KUDU_MASTERS: not given; allowed: host:port,host:port,... (required)',
        'SPOOR_TSERVER: not given; allowed: host:port, the port from 1 to 65535 (required in leader mode)',
        'SPOOR_WAL_DIR: not given; allowed: the path of a folder (required in leader mode)',
      ]);
    });

    it('asks for a Kudu user where the OS user has no name', () => {
      const loaded = load(REQUIRED, undefined, null);
      assert.ok('faults' in loaded);
      assert.match(loaded.faults.join(), /^SPOOR_KUDU_USER: not given; allowed: a user name \(required, as/);
    });

    for (const listen of ['0.0.0.0:8100', '[::]:8100', '192.0.2.7:8100', 'node-1:8100'])
      it(`refuses to listen on ${listen} without a token`, () => {
        assert.deepEqual(faultsOf({ SPOOR_HTTP_LISTEN: listen }), [
          `SPOOR_HTTP_LISTEN: got "${listen}"; allowed: a loopback address such as 127.0.0.1:8100, unless SPOOR_HTTP_TOKEN is given`,
        ]);
        configOf({ SPOOR_HTTP_LISTEN: listen, SPOOR_HTTP_TOKEN: 't' });
        configOf({ SPOOR_HTTP_LISTEN: listen, SPOOR_HTTP_TOKEN_FILE: write('token', 't') });
      });

    it('takes a token for reading beside that for all, and no other way', () => {
      const both = { SPOOR_HTTP_TOKEN: 'all', SPOOR_HTTP_TOKEN_READ: 'look' };
      assert.deepEqual(configOf(both).http.credentials.tokens, { operate: 'all', read: 'look' });
      assert.deepEqual(faultsOf({ SPOOR_HTTP_TOKEN_READ: 'look' }), [
        'SPOOR_HTTP_TOKEN: not given; allowed: visible ASCII characters without spaces (goes with SPOOR_HTTP_TOKEN_READ)',
      ]);
      assert.deepEqual(faultsOf({ ...both, SPOOR_HTTP_TOKEN_READ: 'all' }), [
        'SPOOR_HTTP_TOKEN_READ: got ***; allowed: another token than SPOOR_HTTP_TOKEN',
      ]);
      assert.deepEqual(secretsOf(configOf(both)), ['all', 'look']);
    });

    it('takes a certificate with its key, and says which of them is wrong', async () => {
      const authority = await makeAuthority();
      const [{ cert, key }, other] = [await authority.issue('node-1'), await authority.issue('node-2')];
      const tls = { SPOOR_HTTP_TLS_CERT: cert, SPOOR_HTTP_TLS_KEY: key };
      assert.deepEqual(configOf(tls).http.credentials.tls, { cert, key, clientCa: null });
      const mutual = { ...tls, SPOOR_HTTP_TLS_CLIENT_CA_FILE: write('client-ca', authority.cert) };
      const { http } = configOf(mutual);
      assert.equal(http.credentials.tls?.clientCa, authority.cert.trim());
      assert.deepEqual(http.files, { SPOOR_HTTP_TLS_CLIENT_CA: join(dir, 'client-ca') });
      assert.deepEqual(secretsOf(configOf(tls)), [key]);
      const faultOf = (more: Environment): string => faultsOf({ ...tls, ...more }).join();
      assert.match(
        faultOf({ SPOOR_HTTP_TLS_KEY: '' }),
        /^SPOOR_HTTP_TLS_KEY: not given; .*goes with SPOOR_HTTP_TLS_CERT/,
      );
      assert.match(
        faultOf({ SPOOR_HTTP_TLS_KEY: other.key }),
        /_KEY: got \*\*\*; allowed: the private key of SPOOR_HTTP_TLS_C/,
      );
      assert.match(
        faultOf({ SPOOR_HTTP_TLS_KEY: KEY }),
        /_KEY: got \*\*\*; allowed: a private key in PEM, not encrypted/,
      );
      assert.match(
        faultOf({ SPOOR_HTTP_TLS_CERT: CERT }),
        /_CERT: got ".*allowed: a certificate in PEM, which OpenSSL/,
      );
      assert.match(
        faultOf({ SPOOR_HTTP_TLS_CLIENT_CA: CERT }),
        /_CLIENT_CA: got ".*allowed: certificates in PEM, which/,
      );
      const alone = faultsOf({ SPOOR_HTTP_TLS_CLIENT_CA: authority.cert });
      assert.deepEqual(
        alone.map((fault) => fault.split(':', 1)[0]),
        ['SPOOR_HTTP_TLS_CERT', 'SPOOR_HTTP_TLS_KEY'],
      );
    });

    for (const advertise of ['0.0.0.0:8100', '[::]:8100', '[0:0::0]:8100'])
      it(`refuses to be called at ${advertise}`, () => {
        assert.deepEqual(faultsOf({ SPOOR_HTTP_ADVERTISE: advertise }), [
          `SPOOR_HTTP_ADVERTISE: got "${advertise}"; allowed: an address that the other sidecars can call, not a wildcard`,
        ]);
      });

    it('takes addresses with blanks around them, and each master once', () => {
      const { kudu, tserver } = configOf({
        SPOOR_KUDU_MASTERS: ' m1:7051, m2:7051,m1:7051 ',
        SPOOR_TSERVER: ' [::1]:7050 ',
      });
      assert.deepEqual([kudu.masters, tserver], [['m1:7051', 'm2:7051'], '[::1]:7050']);
    });

    for (const listen of ['127.0.0.1:1', '127.1.2.3:1', 'localhost:1', 'LOCALHOST.:1', '[::1]:1', '[0:0::1]:1'])
      it(`listens on ${listen} without a token`, () => {
        configOf({ SPOOR_HTTP_LISTEN: listen });
      });

    it('an empty token is none', () => {
      assert.equal(faultsOf({ SPOOR_HTTP_LISTEN: '0.0.0.0:1', SPOOR_HTTP_TOKEN: '' }).length, 1);
    });

    const SASL = {
      SPOOR_KAFKA_SASL_MECHANISM: 'plain',
      SPOOR_KAFKA_SASL_USERNAME: 'u',
      SPOOR_KAFKA_SASL_PASSWORD: 'p',
    };
    for (const left of Object.keys(SASL))
      it(`SASL is whole or not at all: without ${left}`, () => {
        const [fault, ...more] = faultsOf({ ...SASL, [left]: undefined });
        assert.deepEqual(more, []);
        assert.match(fault!, new RegExp(`^${left}: not given; allowed: .*\\(goes with SPOOR_KAFKA_SASL_`));
      });

    const OAUTH = {
      SPOOR_KAFKA_SASL_MECHANISM: 'OAUTHBEARER',
      SPOOR_KAFKA_OAUTH_TOKEN_URL: 'https://idp/token',
      SPOOR_KAFKA_OAUTH_CLIENT_ID: 'spoor',
      SPOOR_KAFKA_OAUTH_CLIENT_SECRET_FILE: '',
    };
    const withOAuth = (more: Environment = {}): Environment => ({
      ...OAUTH,
      SPOOR_KAFKA_OAUTH_CLIENT_SECRET_FILE: write('client-secret', 's3cret\n'),
      ...more,
    });

    it('OAuth wants an endpoint, a client and its secret, and takes a scope', () => {
      const config = configOf(withOAuth({ SPOOR_KAFKA_OAUTH_SCOPE: 'kafka other' }));
      assert.deepEqual(config.kafka.sasl, {
        mechanism: 'oauthbearer',
        tokenUrl: 'https://idp/token',
        clientId: 'spoor',
        clientSecret: 's3cret',
        scope: 'kafka other',
      });
      assert.deepEqual(config.kafka.files, { SPOOR_KAFKA_OAUTH_CLIENT_SECRET: join(dir, 'client-secret') });
      assert.deepEqual(secretsOf(config), ['s3cret']);
      assert.deepEqual(faultsOf({ SPOOR_KAFKA_SASL_MECHANISM: 'oauthbearer' }), [
        'SPOOR_KAFKA_OAUTH_TOKEN_URL: not given; allowed: https://..., or http://... on this machine, without user name and password (goes with SPOOR_KAFKA_SASL_MECHANISM=oauthbearer)',
        'SPOOR_KAFKA_OAUTH_CLIENT_ID: not given; allowed: a client id (goes with SPOOR_KAFKA_SASL_MECHANISM=oauthbearer)',
        'SPOOR_KAFKA_OAUTH_CLIENT_SECRET: not given; allowed: a client secret (goes with SPOOR_KAFKA_SASL_MECHANISM=oauthbearer)',
      ]);
    });

    for (const [url, isTaken] of [
      ['http://127.0.0.1:8080/token', true],
      ['http://[::1]:8080/token', true],
      ['http://localhost/token', true],
      ['http://idp/token', false],
      ['https://user:pass@idp/token', false],
      ['idp/token', false],
      ['ftp://idp/token', false],
    ] as const)
      it(`${isTaken ? 'a secret may' : 'a secret must not'} go to ${url}`, () => {
        const env = withOAuth({ SPOOR_KAFKA_OAUTH_TOKEN_URL: url });
        if (isTaken) configOf(env);
        else assert.match(faultsOf(env).join(), /^SPOOR_KAFKA_OAUTH_TOKEN_URL: got "[^"]*"; allowed: https/);
      });

    it('what belongs to another SASL mechanism is not taken silently', () => {
      assert.deepEqual(faultsOf(withOAuth({ SPOOR_KAFKA_SASL_PASSWORD: 'p' })), [
        'SPOOR_KAFKA_SASL_PASSWORD: got ***; allowed: nothing, as SPOOR_KAFKA_SASL_MECHANISM is oauthbearer',
      ]);
      assert.deepEqual(faultsOf({ SPOOR_KAFKA_OAUTH_SCOPE: 'x' }), [
        'SPOOR_KAFKA_SASL_MECHANISM: not given; allowed: plain, scram-sha-256, scram-sha-512, oauthbearer or gssapi (goes with SPOOR_KAFKA_OAUTH_SCOPE)',
      ]);
    });

    it("Kafka's Kerberos is Kudu's, also where Kudu has none", () => {
      const kerberos = { SPOOR_KUDU_PRINCIPAL: 'spoor', SPOOR_KUDU_KEYTAB: '/k' };
      const config = configOf({ ...kerberos, SPOOR_KUDU_AUTH: 'plain', SPOOR_KAFKA_SASL_MECHANISM: 'gssapi' });
      assert.deepEqual(config.kafka.sasl, { mechanism: 'gssapi', serviceName: 'kafka' });
      assert.deepEqual(config.kudu.kerberos, { principal: 'spoor', keytab: '/k' });
      assert.equal(faultsOf({ ...kerberos, SPOOR_KUDU_AUTH: 'plain' }).length, 2);
    });

    it('a client certificate and its key go together', () => {
      assert.match(
        faultsOf({ SPOOR_KAFKA_SSL_CERT: CERT }).join(),
        /^SPOOR_KAFKA_SSL_KEY: not given;.*SPOOR_KAFKA_SSL_CERT\)$/,
      );
      assert.match(
        faultsOf({ SPOOR_KAFKA_SSL_KEY: KEY }).join(),
        /^SPOOR_KAFKA_SSL_CERT: not given;.*SPOOR_KAFKA_SSL_KEY\)$/,
      );
    });

    it('certificates and no TLS is a contradiction', () => {
      assert.deepEqual(faultsOf({ SPOOR_KAFKA_SSL: 'false', SPOOR_KAFKA_SSL_CA: CERT }), [
        'SPOOR_KAFKA_SSL: got "false"; allowed: true, as SPOOR_KAFKA_SSL_CA is given',
      ]);
    });
  });

  describe('names', () => {
    const UNKNOWN: [name: string, hint: string][] = [
      ['SPOOR_KUDU_MASTER', 'did you mean SPOOR_KUDU_MASTERS?'],
      ['SPOOR_HTP_TOKEN', 'did you mean SPOOR_HTTP_TOKEN?'],
      ['SPOOR_HTTP_TOKEN_FIEL', 'did you mean SPOOR_HTTP_TOKEN_FILE?'],
      ['SPOOR_TSERVER_FILE', 'allowed: SPOOR_TSERVER, which is no secret'],
      ['SPOOR_X', 'allowed: those in .env.example'],
    ];
    for (const [name, hint] of UNKNOWN)
      it(`refuses ${name}, and does not show its value, which may be a secret`, () => {
        assert.deepEqual(faultsOf({ [name]: 'hunter2' }), [`${name}: got ***; no such variable; ${hint}`]);
        assert.deepEqual(faultsOf({}, `${name}=hunter2`), [`${name}: got ***; no such variable; ${hint}`]);
      });

    it('leaves alone what is not its own', () => {
      configOf({ PATH: '/bin', SPOOR: 'x', spoor_x: 'y', MY_SPOOR_X: 'z' });
    });
  });

  describe('.env', () => {
    it('is read where it is there, and the environment wins', () => {
      const dotenv = 'SPOOR_LOG_LEVEL=warn\nSPOOR_MARKER_INTERVAL_MS=5 # comment\nOTHER=1\n';
      const config = configOf({ SPOOR_LOG_LEVEL: 'error' }, dotenv);
      assert.equal(config.logLevel, 'error');
      assert.equal(config.markerIntervalMs, 5);
    });

    it('an empty variable of the environment takes back what .env says', () => {
      assert.equal(configOf({ SPOOR_LOG_LEVEL: '' }, 'SPOOR_LOG_LEVEL=warn').logLevel, 'info');
    });

    it('either form of a secret in the environment hides both forms in .env', () => {
      assert.equal(
        configOf({ SPOOR_HTTP_TOKEN: 'mine' }, 'SPOOR_HTTP_TOKEN_FILE=/nope').http.credentials.tokens?.operate,
        'mine',
      );
      const file = write('env-token', 'filed');
      assert.equal(
        configOf({ SPOOR_HTTP_TOKEN_FILE: file }, 'SPOOR_HTTP_TOKEN=theirs').http.credentials.tokens?.operate,
        'filed',
      );
    });

    it('that cannot be read is a fault', () => {
      const cwd = mkdtempSync(join(dir, 'cwd-'));
      mkdirSync(join(cwd, '.env'));
      const loaded = loadConfig(REQUIRED, cwd, { user: 'kudu' });
      assert.ok('faults' in loaded);
      assert.match(loaded.faults.join(), /^\.env: got ".*", which cannot be read \(EISDIR\)/);
    });
  });

  describe('_FILE', () => {
    it('is there for every secret', () => {
      const secrets = VARIABLE_NAMES.filter((name) => variableInfo(name).secret === true);
      assert.deepEqual(secrets, [
        'SPOOR_KUDU_JWT',
        'SPOOR_KAFKA_SSL_KEY',
        'SPOOR_KAFKA_SASL_PASSWORD',
        'SPOOR_KAFKA_OAUTH_CLIENT_SECRET',
        'SPOOR_REGISTRY_PASSWORD',
        'SPOOR_REGISTRY_TOKEN',
        'SPOOR_REDIS_URL',
        'SPOOR_REDIS_PASSWORD',
        'SPOOR_HTTP_TOKEN',
        'SPOOR_HTTP_TOKEN_READ',
        'SPOOR_HTTP_TLS_KEY',
      ]);
      assert.ok(secrets.every(hasFileVariant));
    });

    it('gives the content without its last line break', () => {
      assert.equal(configOf({ SPOOR_HTTP_TOKEN_FILE: write('t1', 'abc\n') }).http.credentials.tokens?.operate, 'abc');
      assert.equal(configOf({ SPOOR_HTTP_TOKEN_FILE: write('t2', 'abc\r\n') }).http.credentials.tokens?.operate, 'abc');
      const sasl = { SPOOR_KAFKA_SASL_MECHANISM: 'plain', SPOOR_KAFKA_SASL_USERNAME: 'u' };
      const { kafka } = configOf({ ...sasl, SPOOR_KAFKA_SASL_PASSWORD_FILE: write('p', ' p w \n') });
      assert.deepEqual(kafka.sasl, { mechanism: 'plain', username: 'u', password: ' p w ' });
      assert.deepEqual(kafka.files, { SPOOR_KAFKA_SASL_PASSWORD: join(dir, 'p') });
      assert.deepEqual(configOf({ SPOOR_KAFKA_SSL_CA_FILE: write('ca', `${CERT}\n`) }).kafka.tls, { ca: CERT });
      const { redis } = configOf({ SPOOR_REDIS_URL_FILE: write('r', 'redis://h\n') });
      assert.deepEqual(redis.servers?.hosts, [{ host: 'h', port: 6379 }]);
    });

    it('and the value itself, both given, is a fault', () => {
      assert.deepEqual(faultsOf({ SPOOR_HTTP_TOKEN: 'abc', SPOOR_HTTP_TOKEN_FILE: '/run/token' }), [
        'SPOOR_HTTP_TOKEN: got *** and also SPOOR_HTTP_TOKEN_FILE="/run/token"; allowed: one of the two',
      ]);
    });

    it('is a fault where the file is missing, a folder or empty', () => {
      const allowed = 'allowed: the path of a readable file that holds the value';
      const empty = write('empty', '\n');
      assert.deepEqual(faultsOf({ SPOOR_HTTP_TOKEN_FILE: '/no/such' }), [
        `SPOOR_HTTP_TOKEN_FILE: got "/no/such", which cannot be read (ENOENT); ${allowed}`,
      ]);
      assert.deepEqual(faultsOf({ SPOOR_HTTP_TOKEN_FILE: dir }), [
        `SPOOR_HTTP_TOKEN_FILE: got ${JSON.stringify(dir)}, which cannot be read (EISDIR); ${allowed}`,
      ]);
      assert.deepEqual(faultsOf({ SPOOR_HTTP_TOKEN_FILE: empty }), [
        `SPOOR_HTTP_TOKEN_FILE: got ${JSON.stringify(empty)}, which is empty; ${allowed}`,
      ]);
    });
  });
});

it('loadConfig never throws, and a fault is always one line that names its variable', () => {
  const name = fc.oneof(
    fc.constantFrom(...VARIABLE_NAMES),
    fc.constantFrom('SPOOR_HTTP_TOKEN_FILE', 'SPOOR_', 'SPOOR_\n'),
  );
  const value = fc.oneof(
    fc.string({ unit: 'binary' }),
    fc.constantFrom('1', '[::]:1', 'a:1', 'on', '../..', 'redis://%zz@h'),
  );
  fc.assert(
    fc.property(fc.dictionary(name, value), (env) => {
      const loaded = loadConfig(env, dir, { user: 'kudu' });
      if ('config' in loaded) return;
      for (const fault of loaded.faults) assert.match(fault, /^"?SPOOR_.*: [^\n\r]+$/);
    }),
    { numRuns: 300 },
  );
});

describe('advertisedAddress', () => {
  const http = (host: string, advertise: string | null = null, isTls = false) => ({
    listen: { host, port: 0 },
    advertise,
    credentials: { tokens: null, tls: isTls ? { cert: '', key: '', clientCa: null } : null },
  });
  it('is what was configured', () => {
    assert.equal(advertisedAddress(http('0.0.0.0', 'node-1:80'), 4711, 'me'), 'node-1:80');
  });
  it('is the listen address with the port that was bound', () => {
    assert.equal(advertisedAddress(http('127.0.0.1'), 4711, 'me'), '127.0.0.1:4711');
    assert.equal(advertisedAddress(http('::1'), 4711, 'me'), '[::1]:4711');
  });
  it('is the host name where it listens on every interface', () => {
    assert.equal(advertisedAddress(http('0.0.0.0'), 4711, 'me'), 'me:4711');
    assert.equal(advertisedAddress(http('::'), 4711, 'me'), 'me:4711');
  });
  it('says that it is called by TLS', () => {
    assert.equal(advertisedAddress(http('0.0.0.0', 'node-1:80', true), 4711, 'me'), 'https://node-1:80');
    assert.equal(advertisedAddress(http('::1', null, true), 4711, 'me'), 'https://[::1]:4711');
  });
});
