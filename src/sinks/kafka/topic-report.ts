import type { PlaceReport, SinkReport } from '../sink-type.ts';
import {
  APPEARS,
  KafkaCodeError,
  NO_ERROR,
  TOPIC_ALREADY_EXISTS,
  UNKNOWN_TOPIC_OR_PARTITION,
} from './wire/error-codes.ts';
import { TOPIC_OPERATION, type NewTopic, type TopicCreation, type TopicMetadata } from './wire/cluster-apis.ts';

/** A topic that a stream would use. */
export interface WantedTopic extends NewTopic {
  readonly of: PlaceReport['of'];
  /** Whether Spoor would make it, if it is missing. */
  readonly mayMake: boolean;
}

/** What Kafka says of it. */
export interface SaidOfTopic {
  /** Undefined where it was not asked. */
  readonly metadata?: TopicMetadata | undefined;
  /** The values that it has of the settings that are wanted, where it is there and may be described. */
  readonly settings?: ReadonlyMap<string, string | null> | undefined;
  /** What would become of making it, where it is missing. */
  readonly creation?: TopicCreation | undefined;
}

export function isThere({ metadata }: SaidOfTopic): boolean {
  return metadata?.errorCode === NO_ERROR;
}

/** Whether it does not exist, or is hidden from us because we may not describe it. */
export function isMissing({ metadata }: SaidOfTopic): boolean {
  return metadata?.errorCode === UNKNOWN_TOPIC_OR_PARTITION;
}

/** Puts together what is to be told of the topics of a stream. */
export function reportTopics(
  wanted: readonly WantedTopic[],
  said: ReadonlyMap<string, SaidOfTopic>,
  warnings: readonly string[],
): SinkReport {
  const reports = wanted.map((topic) => reportTopic(topic, said.get(topic.topic) ?? {}));
  return {
    places: reports.map(({ place }) => place),
    missing: reports.flatMap(({ missing }) => missing ?? []),
    warnings: [
      ...warnings,
      ...reports.flatMap(({ place }) =>
        place.differences.map((difference) => `topic ${place.name} stays as it is: ${difference}`),
      ),
    ],
  };
}

interface TopicReport {
  readonly place: PlaceReport;
  readonly missing?: string;
}

function reportTopic(wanted: WantedTopic, said: SaidOfTopic): TopicReport {
  const { topic: name, of, partitions, replicationFactor, config } = wanted;
  const place = { name, of, partitions, replicationFactor, settings: config, differences: [] };
  if (said.metadata === undefined) return { place: { ...place, state: 'unknown' } };
  if (isThere(said)) return reportExisting(wanted, said.metadata, said.settings ?? new Map<string, string | null>());
  // It was made a moment ago: Kafka has no leader for it yet, or has learned of it since it was looked up.
  if (!isMissing(said) && APPEARS.has(said.metadata.errorCode)) return { place: { ...place, state: 'there' } };
  if (said.creation?.errorCode === TOPIC_ALREADY_EXISTS) return { place: { ...place, state: 'there' } };
  if (!isMissing(said)) {
    const { message } = new KafkaCodeError(said.metadata.errorCode, `topic ${name}`);
    return { place: { ...place, state: 'refused' }, missing: `Kafka refuses ${message}` };
  }
  if (!wanted.mayMake) {
    const missing = `topic ${name} does not exist and the stream may not make it (sink.createTopics is false): make it`;
    return { place: { ...place, state: 'missing' }, missing };
  }
  const { creation } = said;
  if (creation === undefined) return { place: { ...place, state: 'unknown' } };
  if (creation.errorCode === NO_ERROR) return { place: { ...place, state: 'made' } };
  const { message } = new KafkaCodeError(creation.errorCode, `to make topic ${name}`, creation.message);
  return { place: { ...place, state: 'refused' }, missing: `Kafka refuses ${message}` };
}

function reportExisting(
  wanted: WantedTopic,
  { partitions: there, operations }: TopicMetadata,
  values: ReadonlyMap<string, string | null>,
): TopicReport {
  const { topic: name, of, partitions, config } = wanted;
  const settings: Record<string, string> = {};
  const differences: string[] = [];
  // Fewer partitions of positions stop the stream, more do not matter, and one that names no number takes any.
  if (partitions > 0 && there.length !== partitions)
    differences.push(`it has ${there.length} partitions, ${partitions} are asked for`);
  for (const [setting, asked] of Object.entries(config)) {
    const value = values.get(setting);
    if (value === undefined || value === null) continue;
    settings[setting] = value;
    if (value !== asked) differences.push(`${setting} is ${value}, ${asked} is asked for`);
  }
  const mayWrite = operations === null || (operations & (1 << TOPIC_OPERATION.WRITE)) !== 0;
  const place = { name, of, partitions: there.length, replicationFactor: null, settings, differences };
  if (mayWrite) return { place: { ...place, state: 'there' } };
  const missing = `topic ${name} may not be written to: give the user of the sidecars WRITE on it`;
  return { place: { ...place, state: 'refused' }, missing };
}
