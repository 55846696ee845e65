import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { X509Certificate } from 'node:crypto';
import { userInfo } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { KuduClient } from '../../src/kudu/client.ts';
import { KuduError } from '../../src/kudu/errors.ts';
import type { SecurityOptions } from '../../src/kudu/security/options.ts';
import { RpcErrorCode, SecurityFault } from '../../src/kudu/status.ts';
import { ENCRYPTED } from '../../src/demo/kudu-security.ts';
import type { KuduCluster } from '../../src/demo/kudu-servers.ts';
import { freePort } from '../../src/demo/ports.ts';
import { WorkDir } from '../../src/demo/work-dir.ts';
import { kerberosMissing, serversMissing, startKudu } from '../support/cluster.ts';
import { caOf, KerberosRealm, TLS_AND_PLAIN } from '../support/secure-kudu.ts';

const connect = (cluster: KuduCluster, security: SecurityOptions, timeoutMs = 10_000): Promise<KuduClient> =>
  KuduClient.connect({ masters: cluster.masters, timeoutMs, ...security });

async function fails(connecting: Promise<KuduClient>, fault: number, text: RegExp): Promise<void> {
  await assert.rejects(connecting, (error) => {
    assert.ok(error instanceof KuduError, String(error));
    assert.deepEqual([error.lastCause.kind, error.lastCause.code], ['security', fault], error.message);
    assert.match(error.message, text);
    return true;
  });
}

/** The client alone, against what guards a cluster: the negotiations that a sidecar sees once in a while, one by one. */
describe(
  'a client and the guards of a cluster',
  { skip: (await serversMissing()) || (await kerberosMissing()), timeout: 300_000 },
  () => {
    describe('TLS', () => {
      for (const [version, excluded] of [
        ['1.3', 'TLSv1.1'],
        ['1.2', 'TLSv1.3'],
      ] as const)
        it(`${version}: no first call hangs, however many connections are made at once`, async () => {
          const flags = [...ENCRYPTED, `--rpc_tls_excluded_protocols=${excluded}`];
          const security = { ...TLS_AND_PLAIN, masterFlags: flags, tserverFlags: flags };
          await using cluster = await startKudu({ tservers: 1, security });
          const once = async (): Promise<void> => {
            using client = await connect(cluster, security.client, 5000);
            await client.tabletServer(cluster.tservers[0]!.rpc).getStatus();
          };
          for (let round = 0; round < 4; round++) await Promise.all(Array.from({ length: 8 }, once));
        });

      it('is refused where a server has none and it is required, and does without where it is optional', async () => {
        const flags = ['--rpc_encryption=disabled', '--rpc_authentication=disabled'];
        const open = { ...TLS_AND_PLAIN, masterFlags: flags, tserverFlags: flags };
        await using cluster = await startKudu({ tservers: 1, security: open });
        using client = await connect(cluster, { encryption: 'optional' });
        await client.tabletServer(cluster.tservers[0]!.rpc).getStatus();
        await fails(connect(cluster, { encryption: 'required' }), SecurityFault.NO_TLS, /does not speak TLS/);
        await fails(connect(cluster, { auth: 'kerberos' }), SecurityFault.NO_TICKET, /Kerberos/);
      });

      it('by a CA that the web page of a master hands out', async () => {
        const port = await freePort();
        const security = { ...TLS_AND_PLAIN, masterFlags: [...ENCRYPTED, `--webserver_port=${port}`] };
        await using cluster = await startKudu({ tservers: 1, security });
        const answer = await fetch(`http://127.0.0.1:${port}/ipki-ca-cert-pem`);
        const handedOut = new X509Certificate(await answer.text());
        assert.equal(handedOut.fingerprint256, new X509Certificate(await caOf(cluster.masters[0]!)).fingerprint256);
      });

      it('of an external PKI: tokens where its CA is given, and no token where it is not', async () => {
        await using dir = await WorkDir.create('spoor-test-pki');
        const pki = makePki(dir.path);
        const flags = [
          ...ENCRYPTED,
          `--rpc_certificate_file=${pki.certificate}`,
          `--rpc_private_key_file=${pki.key}`,
          `--rpc_ca_certificate_file=${pki.ca}`,
        ];
        await using cluster = await startKudu({
          tservers: 1,
          security: { ...TLS_AND_PLAIN, masterFlags: flags, tserverFlags: flags },
        });
        for (const security of [{}, { ca: { file: pki.ca } }]) {
          using client = await connect(cluster, security);
          await client.tabletServer(cluster.tservers[0]!.rpc).getStatus();
        }
      });
    });

    describe('Kerberos', () => {
      let realm: KerberosRealm;
      let cluster: KuduCluster;
      before(async () => {
        realm = await KerberosRealm.start();
        cluster = await startKudu({
          tservers: 1,
          security: realm.security,
          masterFlags: ['--authn_token_validity_seconds=4'],
        });
      });
      after(async () => {
        await cluster[Symbol.asyncDispose]();
        await realm[Symbol.asyncDispose]();
      });

      it('says which part of it is missing', async () => {
        const { client } = realm.security;
        const kerberos = client.kerberos!;
        const { NO_TICKET, NO_MECHANISM } = SecurityFault;
        const wrong = (more: object): SecurityOptions => ({ ...client, kerberos: { ...kerberos, ...more } });
        await fails(
          connect(cluster, wrong({ keytab: '/no/such.keytab' }), 1000),
          NO_TICKET,
          /"\/no\/such.keytab".*ENOENT/,
        );
        await fails(connect(cluster, wrong({ principal: 'nobody' }), 1000), NO_TICKET, /nobody.*klist -k/);
        const service = { ...client, saslProtocolName: 'hive' };
        await fails(connect(cluster, service, 1000), NO_TICKET, /hive@127\.0\.0\.1.*not found in Kerberos database/);
        await fails(connect(cluster, { auth: 'plain' }), NO_MECHANISM, /offers GSSAPI/);
      });

      it('takes what the environment has where nothing is said: the cache of somebody else', async () => {
        using client = await connect(cluster, {});
        const server = client.tabletServer(cluster.tservers[0]!.rpc);
        await server.getStatus();
        await assert.rejects(server.getFlags([]), (error) =>
          KuduError.is(error, 'rpc', RpcErrorCode.ERROR_APPLICATION),
        );
      });

      it('makes new connections by new tokens, and by tickets of its own, after each has ended', async () => {
        using client = await connect(cluster, realm.security.client);
        for (let round = 0; round < 3; round++) {
          await client.tabletServer(cluster.tservers[0]!.rpc).getFlags(['rpc_encryption']);
          await sleep(2500);
          await cluster.tservers[0]!.restart(); // a server that has only just started answers otherwise, for a moment
        }
      });

      it('goes on by its token while the KDC is away, and says what is wrong when that is over', async () => {
        using client = await connect(cluster, realm.security.client);
        const server = client.tabletServer(cluster.tservers[0]!.rpc);
        await server.getStatus();
        await realm.kdc.process.stop();
        try {
          await server.getStatus();
          const stranger = connect(cluster, realm.security.client, 3000);
          await fails(stranger, SecurityFault.NO_TICKET, /Cannot contact any KDC|KDC does not answer/);
        } finally {
          await realm.kdc.process.restart();
        }
        using again = await connect(cluster, realm.security.client);
        await again.tabletServer(cluster.tservers[0]!.rpc).getStatus();
      });
    });

    it('never gives its name alone where Kerberos was asked for', async () => {
      await using realm = await KerberosRealm.start();
      await using cluster = await startKudu({ tservers: 1, security: TLS_AND_PLAIN });
      const { NO_MECHANISM } = SecurityFault;
      await fails(connect(cluster, realm.security.client, 3000), NO_MECHANISM, /SPOOR_KUDU_AUTH is kerberos/);
      const { kerberos } = realm.security.client;
      using client = await connect(cluster, { auth: 'auto', kerberos: kerberos!, user: userInfo().username });
      await client.listTables();
    });
  },
);

interface Pki {
  readonly ca: string;
  readonly certificate: string;
  readonly key: string;
}

/** A CA, and a server's certificate of it, as somebody's own PKI makes them. */
function makePki(dir: string): Pki {
  const at = (name: string): string => join(dir, name);
  const openssl = (...args: string[]): void => {
    execFileSync('openssl', args, { stdio: 'ignore' });
  };
  openssl(
    ...['req', '-x509', '-newkey', 'rsa:2048', '-nodes', '-days', '2', '-subj', '/CN=test-ca'],
    ...['-keyout', at('ca.key'), '-out', at('ca.pem')],
  );
  openssl(
    ...[
      'req',
      '-newkey',
      'rsa:2048',
      '-nodes',
      '-subj',
      '/UID=kudu',
      '-keyout',
      at('server.key'),
      '-out',
      at('server.csr'),
    ],
    ...['-addext', 'extendedKeyUsage=serverAuth,clientAuth'],
  );
  openssl(
    ...['x509', '-req', '-in', at('server.csr'), '-CA', at('ca.pem'), '-CAkey', at('ca.key'), '-CAcreateserial'],
    ...['-days', '2', '-copy_extensions', 'copy', '-out', at('server.pem')],
  );
  execFileSync('chmod', ['600', at('server.key')]);
  return { ca: at('ca.pem'), certificate: at('server.pem'), key: at('server.key') };
}
