/** Starts a cluster, says what it is made of and waits to be killed: see test/integration/demo-servers.test.ts. */
import { startKudu } from './cluster.ts';

const kudu = await startKudu({ tservers: 1 });
const [server] = kudu.tservers;
process.stdout.write(`${JSON.stringify({ pids: [kudu.master.pid, server!.pid], walDir: server!.walDir })}\n`);
setInterval(() => undefined, 60_000);
