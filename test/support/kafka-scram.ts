import { fetchKafka } from '../../src/demo/artifacts.ts';
import { runCommand } from '../../src/demo/run-command.ts';
import type { KafkaServer } from '../../src/demo/kafka-server.ts';
import { artifactOptions } from './cluster.ts';

/** Gives a user a password for SCRAM-SHA-512, in the place of the one before, by Kafka's own tool. */
export async function setScramPassword(kafka: KafkaServer, user: string, password: string): Promise<void> {
  const { java, classPath } = await fetchKafka(await artifactOptions());
  const { exitCode, output } = await runCommand(java, [
    ...['-Xmx128m', '-XX:TieredStopAtLevel=1', '-cp', classPath, 'kafka.admin.ConfigCommand'],
    ...['--bootstrap-server', kafka.brokers.join(), '--alter', '--entity-type', 'users', '--entity-name', user],
    ...['--add-config', `SCRAM-SHA-512=[iterations=4096,password=${password}]`],
  ]);
  if (exitCode !== 0) throw new Error(`no password for ${user}:\n${output}`);
}
