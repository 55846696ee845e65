import { randomUUID } from 'node:crypto';
import type { SinkReport } from '../sink-type.ts';
import type { KafkaCluster } from './cluster.ts';
import type { KafkaDefinition } from './definition.ts';
import { toSinkError } from './kafka-error.ts';
import { POSITIONS_CONFIG, POSITIONS_PARTITIONS, POSITIONS_TOPIC } from './lanes/positions-topic.ts';
import { newTopic } from './topics.ts';
import { isMissing, isThere, reportTopics, type SaidOfTopic, type WantedTopic } from './topic-report.ts';
import { METADATA_WITH_RIGHTS, type NewTopic } from './wire/cluster-apis.ts';
import { DESCRIBE_TOPIC_CONFIG } from './wire/describe-configs.ts';
import { INVALID_CONFIG, KafkaCodeError, NO_ERROR } from './wire/error-codes.ts';

type Asked = Pick<KafkaCluster, 'sendToAny' | 'tryTopics'>;

/** Asks Kafka what it would say to the topics of a stream, and makes none. */
export class TopicInquiry {
  readonly #cluster: Asked;

  constructor(cluster: Asked) {
    this.#cluster = cluster;
  }

  /** @param topics of the rows */
  async report(definition: KafkaDefinition, topics: readonly string[], signal: AbortSignal): Promise<SinkReport> {
    const wanted = wantedTopics(definition, topics);
    try {
      return reportTopics(wanted, await this.#ask(wanted, signal), []);
    } catch (error) {
      return reportTopics(wanted, new Map(), [`Kafka cannot be asked about topics: ${toSinkError(error).message}`]);
    }
  }

  /**
   * What Kafka has against the settings of topics that are to be made, whatever the topic; null for nothing, and where it
   * does not say.
   * @param topics of the rows
   * @throws {SinkError} Kafka does not answer
   */
  async wrongSettings(
    definition: KafkaDefinition,
    topics: readonly string[],
    signal: AbortSignal,
  ): Promise<string | null> {
    try {
      const { topics: found } = await this.#cluster.sendToAny(METADATA_WITH_RIGHTS, topics, signal);
      const missing = found.find((metadata) => isMissing({ metadata }))?.name;
      // Of one that nobody has: topics that are there already are not looked at. We may not be allowed to make that.
      const tried = [...(missing === undefined ? [] : [missing]), `spoor.dry-run-${randomUUID()}`];
      const answers = await this.#cluster.tryTopics(
        tried.map((topic) => newTopic(topic, optionsOf(definition))),
        signal,
      );
      const refused = answers.find(({ errorCode }) => errorCode === INVALID_CONFIG);
      if (refused === undefined) return null;
      return refused.message ?? new KafkaCodeError(refused.errorCode, 'to make topics').message;
    } catch (error) {
      throw toSinkError(error);
    }
  }

  async #ask(wanted: readonly WantedTopic[], signal: AbortSignal): Promise<ReadonlyMap<string, SaidOfTopic>> {
    const names = wanted.map(({ topic }) => topic);
    const { topics } = await this.#cluster.sendToAny(METADATA_WITH_RIGHTS, names, signal);
    const said = new Map(topics.map((metadata): [string, SaidOfTopic] => [metadata.name, { metadata }]));
    const ofState = (is: (said: SaidOfTopic) => boolean) => wanted.filter(({ topic }) => is(said.get(topic) ?? {}));
    const toMake = ofState(isMissing).filter(({ mayMake }) => mayMake);
    const creations = toMake.length === 0 ? [] : await this.#cluster.tryTopics(toMake.map(toNewTopic), signal);
    for (const creation of creations) said.set(creation.topic, { ...said.get(creation.topic), creation });
    const described = ofState(isThere).filter(({ config }) => Object.keys(config).length > 0);
    await Promise.all(
      described.map(async ({ topic, config }) => {
        const request = { topic, names: Object.keys(config) };
        const { errorCode, values } = await this.#cluster.sendToAny(DESCRIBE_TOPIC_CONFIG, request, signal);
        if (errorCode === NO_ERROR) said.set(topic, { ...said.get(topic), settings: values });
      }),
    );
    return said;
  }
}

function wantedTopics(definition: KafkaDefinition, topics: readonly string[]): WantedTopic[] {
  const { schemaTopic, createTopics: mayMake, replicationFactor } = definition;
  const options = optionsOf(definition);
  const ofRows = topics.filter((topic) => topic !== schemaTopic);
  return [
    ...ofRows.map((topic): WantedTopic => ({ ...newTopic(topic, options), of: 'rows', mayMake })),
    { ...newTopic(schemaTopic, options), of: 'schema-changes', mayMake },
    {
      topic: POSITIONS_TOPIC,
      partitions: POSITIONS_PARTITIONS,
      replicationFactor,
      config: POSITIONS_CONFIG,
      of: 'positions',
      mayMake: true,
    },
  ];
}

function optionsOf({ partitions, replicationFactor, topicConfig = {}, schemaTopic }: KafkaDefinition) {
  return { partitions, replicationFactor, topicConfig, schemaTopic };
}

function toNewTopic({ topic, partitions, replicationFactor, config }: WantedTopic): NewTopic {
  return { topic, partitions, replicationFactor, config };
}
