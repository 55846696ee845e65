import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { LOG4J_VERSION } from '../../../src/demo/artifacts.ts';
import { cached, fetchWithDependencies, type ArtifactOptions } from '../../../src/demo/maven.ts';
import { runCommand } from '../../../src/demo/run-command.ts';
import { WorkDir } from '../../../src/demo/work-dir.ts';
import { artifactOptions } from '../cluster.ts';

const VERSION = '2.3.0';
const KAFKA_CONNECTOR_VERSION = '5.0.0-2.2';

const PROGRAM = fileURLToPath(new URL('../../java/flink/FlinkSql.java', import.meta.url));
const TIME_LIMIT_MS = 300_000;

/** A change of a query's result. */
export interface FlinkChange {
  readonly kind: '+I' | '-U' | '+U' | '-D';
  /** As Java prints them. */
  readonly values: readonly string[];
}

/**
 * Runs Flink SQL in a JVM of its own, streaming, until every query in it has come to its end: its sources must be bounded.
 * Answers the changes of the queries' results.
 * @throws {Error} with what Flink says when a statement fails
 */
export async function runFlinkSql(statements: readonly string[]): Promise<readonly FlinkChange[]> {
  const options = await artifactOptions();
  const classPath = join(await fetchFlink(options), '*');
  await using dir = await WorkDir.create('spoor-test-flink');
  const file = join(dir.path, 'statements.sql');
  const logging = join(dir.path, 'log4j2.properties');
  await writeFile(file, statements.map((statement) => `${statement.trim().replace(/;$/, '')};\n`).join(''));
  await writeFile(logging, LOGGING);
  const { exitCode, stdout, output } = await runCommand(
    'setpriv',
    [
      ...['--pdeathsig', 'KILL', '--', join(options.tools.javaHome, 'bin', 'java')],
      ...['-Xmx900m', '-XX:+UseSerialGC', '-XX:TieredStopAtLevel=1', '-Duser.timezone=UTC'],
      ...OPENED.flatMap((name) => ['--add-opens', `java.base/${name}=ALL-UNNAMED`]),
      ...[`-Dlog4j2.configurationFile=${logging}`, `-Djava.io.tmpdir=${dir.path}`, '-cp', classPath, PROGRAM, file],
    ],
    { cwd: dir.path, signal: AbortSignal.timeout(TIME_LIMIT_MS) },
  );
  if (exitCode !== 0) throw new Error(`Flink failed:\n${output}`);
  return stdout
    .split('\n')
    .filter((line) => /^[+-][IUD]\t/.test(line))
    .map((line) => {
      const [kind, ...values] = line.split('\t');
      return { kind: kind as FlinkChange['kind'], values };
    });
}

/** What Flink looks into on Java 17. Source: its own conf/config.yaml. */
const OPENED = [
  'java.lang',
  'java.lang.reflect',
  'java.util',
  'java.util.concurrent',
  'java.net',
  'java.io',
  'java.nio',
  'java.time',
];

const LOGGING = `
appender.err.type=Console
appender.err.name=err
appender.err.target=SYSTEM_ERR
appender.err.layout.type=PatternLayout
appender.err.layout.pattern=%d %p %c{1} %m%n
rootLogger.level=ERROR
rootLogger.appenderRef.err.ref=err
`;

/** The jars with which a program has Flink's SQL in itself, and those that a reader of Kafka adds. */
async function fetchFlink(options: ArtifactOptions): Promise<string> {
  const flink = { groupId: 'org.apache.flink', version: VERSION };
  const names = [
    'flink-table-planner-loader',
    'flink-table-runtime',
    'flink-table-api-java-bridge',
    'flink-clients',
    'flink-connector-base',
    'flink-json',
    'flink-sql-avro-confluent-registry',
  ];
  const title = `Flink ${VERSION}`;
  return cached(options, `flink-${VERSION}`, title, (into) =>
    fetchWithDependencies(
      options,
      [
        ...names.map((artifactId) => ({ ...flink, artifactId })),
        { ...flink, artifactId: 'flink-sql-connector-kafka', version: KAFKA_CONNECTOR_VERSION },
        { groupId: 'org.apache.logging.log4j', artifactId: 'log4j-slf4j-impl', version: LOG4J_VERSION },
      ],
      title,
      into,
      'copy-dependencies',
    ),
  );
}
