import assert from 'node:assert/strict';
import { writeFile } from 'node:fs/promises';
import { userInfo } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { KuduClient } from '../../src/kudu/client.ts';
import { KuduError } from '../../src/kudu/errors.ts';
import type { SecurityOptions } from '../../src/kudu/security/options.ts';
import { RpcErrorCode, SecurityFault } from '../../src/kudu/status.ts';
import { ENCRYPTED, type KuduSecurity } from '../../src/demo/kudu-security.ts';
import { WorkDir } from '../../src/demo/work-dir.ts';
import { serversMissing } from '../support/cluster.ts';
import { form } from '../support/forms.ts';
import { USUAL_FLAGS } from '../support/leased-cluster.ts';
import { mainJob } from '../support/main-job.ts';
import { JwtIssuer, caOf } from '../support/secure-kudu.ts';
import { SpoorCluster } from '../support/spoor-cluster.ts';

const OPS = form(20_000, 300_000);
/** A token's, which somebody renews in time. */
const LIFE_S = 15;
const RENEW_EVERY_MS = 5_000;

/** In CI the cluster with everything stands for this one (secure-kerberos.test.ts). */
const skip = form<string | false>('only in test:long', false) || (await serversMissing());

describe('a cluster that takes JSON Web Tokens', { skip, timeout: 600_000 }, () => {
  let dir: WorkDir;
  let issuer: JwtIssuer;
  let cluster: SpoorCluster;
  let renewing: NodeJS.Timeout;
  let client: SecurityOptions;
  let settings: Readonly<Record<string, string>>;
  before(async () => {
    dir = await WorkDir.create('spoor-test-jwt');
    issuer = await JwtIssuer.create(dir.path);
    const file = await issuer.write('spoor', LIFE_S);
    renewing = setInterval(() => void issuer.write('spoor', LIFE_S), RENEW_EVERY_MS);
    const caFile = join(dir.path, 'ca.pem');
    const flags = [...ENCRYPTED, ...issuer.flags, `--superuser_acl=${userInfo().username},spoor`];
    settings = { SPOOR_KUDU_AUTH: 'jwt', SPOOR_KUDU_JWT_FILE: file, SPOOR_KUDU_CA_FILE: caFile };
    const security: KuduSecurity = {
      masterFlags: flags,
      tserverFlags: flags,
      serverEnv: {},
      cliEnv: {},
      sidecarEnv: {},
      client: {},
    };
    // The CA is made with the cluster: sidecars that know it come second.
    cluster = await SpoorCluster.start({
      security,
      flags: [...USUAL_FLAGS, '--rpc_default_keepalive_time_ms=5000'],
    });
    await writeFile(caFile, await caOf(cluster.masters));
    client = { auth: 'jwt', jwt: { file }, ca: { file: caFile } };
    await cluster.replaceSidecars(settings);
  });
  after(async () => {
    clearInterval(renewing);
    await cluster[Symbol.asyncDispose]();
    await dir[Symbol.asyncDispose]();
  });

  it('does the main job, with a token that is renewed in its file', async (t) => {
    await mainJob(t, cluster, 'jwt', { client, settings, ops: OPS, rate: 1000 });
  });

  it('refuses one that is over, and says what the server says', async () => {
    const over = { ...client, jwt: { value: issuer.sign('spoor', -10) } };
    await assert.rejects(
      KuduClient.connect({ masters: cluster.kudu.masters, timeoutMs: 5000, ...over }),
      (error) => KuduError.is(error, 'rpc', RpcErrorCode.FATAL_INVALID_JWT) && /expired/.test(error.message),
    );
  });

  it('shows none to a server that another CA has signed', async () => {
    const stranger = await strangersCa();
    await assert.rejects(
      KuduClient.connect({ masters: cluster.kudu.masters, timeoutMs: 5000, ...client, ca: { value: stranger } }),
      (error) => KuduError.is(error, 'security', SecurityFault.UNTRUSTED_SERVER),
    );
  });

  it('names a file that is not there', async () => {
    const gone = { ...client, jwt: { file: '/no/such.jwt' } };
    await assert.rejects(
      KuduClient.connect({ masters: cluster.kudu.masters, timeoutMs: 1000, ...gone }),
      (error) =>
        error instanceof KuduError &&
        error.lastCause.code === SecurityFault.CREDENTIAL_FILE &&
        error.message.includes('"/no/such.jwt": ENOENT'),
    );
  });
});

/** Of another cluster. */
async function strangersCa(): Promise<string> {
  const { rootCertificates } = await import('node:tls');
  return rootCertificates[0]!;
}
