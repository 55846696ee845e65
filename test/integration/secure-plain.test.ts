import { after, before, describe, it } from 'node:test';
import { serversMissing } from '../support/cluster.ts';
import { form } from '../support/forms.ts';
import { USUAL_FLAGS } from '../support/leased-cluster.ts';
import { mainJob } from '../support/main-job.ts';
import { TLS_AND_PLAIN } from '../support/secure-kudu.ts';
import { SpoorCluster } from '../support/spoor-cluster.ts';

const OPS = form(20_000, 300_000);

/** In CI the cluster with everything stands for this one (secure-kerberos.test.ts). */
const skip = form<string | false>('only in test:long', false) || (await serversMissing());

describe('a cluster with TLS and nobody to prove himself', { skip, timeout: 600_000 }, () => {
  let cluster: SpoorCluster;
  before(async () => {
    cluster = await SpoorCluster.start({ security: TLS_AND_PLAIN, flags: USUAL_FLAGS });
  });
  after(async () => {
    await cluster[Symbol.asyncDispose]();
  });

  it('does the main job', async (t) => {
    const { client, sidecarEnv } = TLS_AND_PLAIN;
    await mainJob(t, cluster, 'plain', { client, settings: sidecarEnv, ops: OPS, rate: 1000 });
  });
});
