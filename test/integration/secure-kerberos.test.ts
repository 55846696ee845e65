import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { after, before, describe, it } from 'node:test';
import { measureLatency } from '../bench/latency.ts';
import { percentile } from '../bench/percentiles.ts';
import { kerberosMissing, serversMissing } from '../support/cluster.ts';
import { form } from '../support/forms.ts';
import { USUAL_FLAGS } from '../support/leased-cluster.ts';
import { mainJob } from '../support/main-job.ts';
import { KerberosRealm, SHORT_TOKENS } from '../support/secure-kudu.ts';
import { SpoorCluster } from '../support/spoor-cluster.ts';

const OPS = form(60_000, 300_000);
const TICKET_LIFE_S = 60;
/** Half an hour: 90 lives of an authentication token, 30 of a ticket. */
const STEADY_S = 1800;
const MAX_LATE_MS = 5_000;

/**
 * TLS and Kerberos, the least rights, privileges looked at by the tablet servers, encrypted logs, and everything that ends, ending soon:
 * tickets of a minute, authentication tokens of 20 s, authorization tokens of 10 s.
 */
describe(
  'a cluster with TLS, Kerberos, access control and encrypted logs',
  { skip: (await serversMissing()) || (await kerberosMissing()), timeout: form(600_000, 3_600_000) },
  () => {
    let realm: KerberosRealm;
    let cluster: SpoorCluster;
    before(async () => {
      realm = await KerberosRealm.start({ ticketLifeS: TICKET_LIFE_S });
      cluster = await SpoorCluster.start({
        security: realm.security,
        masterFlags: SHORT_TOKENS,
        // Connections that are idle end soon, so that there are more negotiations.
        flags: [
          ...USUAL_FLAGS,
          ...['--tserver_enforce_access_control=true', '--rpc_default_keepalive_time_ms=5000'],
          ...['--encrypt_data_at_rest', '--encryption_key_length=256'],
        ],
        env: { SPOOR_HOLD_SERVER: 'on' },
      });
    });
    after(async () => {
      await cluster[Symbol.asyncDispose]();
      await realm[Symbol.asyncDispose]();
    });

    it('does the main job, over the ends of tokens and tickets', async (t) => {
      const { client, sidecarEnv } = realm.security;
      await mainJob(t, cluster, 'kerberos', { client, settings: sidecarEnv, ops: OPS, rate: 1000 });
      const log = await readFile(realm.kdc.logFile, 'utf8');
      const logins = log.match(/AS_REQ .* ISSUE: .*, spoor@/g)?.length ?? 0;
      t.diagnostic(`${logins} tickets from the keytab`);
      assert.ok(
        logins > 2 * cluster.sidecars.length,
        `each sidecar had its tickets renewed: ${logins} from the keytab`,
      );
    });

    it(
      `has no row late by more than ${MAX_LATE_MS / 1000} s under a steady load, whatever ends meanwhile`,
      { skip: form<string | false>('only in test:long: half an hour', false) },
      async (t) => {
        const { kudu, kafka, sidecars } = cluster;
        const { samplesMs } = await measureLatency({
          ...{ kudu, kafka, sidecars, client: realm.security.client, name: 'steady', delivery: 'exactly-once' },
          ...{ tablets: 4, replicas: 3, rate: 200, flushesPerSecond: 20, seconds: STEADY_S },
        });
        const at = (share: number): string => percentile(samplesMs, share).toFixed(1);
        t.diagnostic(`${samplesMs.length} rows in ${STEADY_S} s; ms: p50 ${at(0.5)}, p99 ${at(0.99)}, max ${at(1)}`);
        assert.ok(samplesMs.every((ms) => ms < MAX_LATE_MS));
      },
    );
  },
);
