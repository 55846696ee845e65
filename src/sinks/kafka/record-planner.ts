import { RecordKind, type RecordBatch } from '../../change/record-batch.ts';
import type { Logger } from '../../util/logger.ts';
import { SinkError } from '../sink.ts';
import { planRequests, type PlannedBatch } from './batch-planner.ts';
import type { Topic } from './cluster.ts';
import type { MarkPolicy } from './mark-policy.ts';
import type { TopicNamer } from './topic-template.ts';
import type { StreamTopics } from './topics.ts';
import { KafkaCodeError } from './wire/error-codes.ts';

export interface RecordPlannerOptions {
  readonly topics: StreamTopics;
  readonly nameTopic: TopicNamer;
  readonly batchLimits: BatchLimits;
  readonly marks: Pick<MarkPolicy, 'takes'>;
  readonly logger: Logger;
  /** Which other tables of the stream have a topic that Kafka does not take beside this one's, and what to do; or null. */
  clashOf(tableName: string): string | null;
}

/** Where the records of a stream go: which topic, which partition, in requests of which size. */
export class RecordPlanner {
  readonly #options: RecordPlannerOptions;
  #hasWarned = false;

  constructor(options: RecordPlannerOptions) {
    this.#options = options;
  }

  /**
   * Divides records into requests, in order; looks up and creates topics as needed. The first schema of a table is left
   * out, with one warning, where the schema topic is missing and may not be made: it says nothing that changed. So are marks
   * where the topic takes none.
   */
  async plan(records: RecordBatch, signal: AbortSignal): Promise<PlannedBatch[][]> {
    const ofTable = new Map<string, Topic>();
    const deadLetters = new Map<string, Topic>();
    const withoutMarks = new Set<Topic>();
    let schemaTopic: Topic | null = null;
    for (let record = 0; record < records.length; record++) {
      const kind = records.kindOf(record);
      if (isSchema(kind)) {
        schemaTopic ??= await this.#findSchemaTopic(kind, signal);
        continue;
      }
      const { table } = records.runOf(record);
      if (kind === RecordKind.DEAD_LETTER) {
        if (!deadLetters.has(table)) deadLetters.set(table, await this.#deadLetterTopic(table, signal));
        continue;
      }
      if (!ofTable.has(table)) ofTable.set(table, await this.requireTopic(table, signal));
      if (kind !== RecordKind.RESOLVED) continue;
      const topic = ofTable.get(table)!;
      if (!(await this.#options.marks.takes(topic, signal))) withoutMarks.add(topic);
    }
    let last: { readonly table: string; readonly topic: Topic } | null = null;
    const topicOf = (record: number): Topic | null => {
      const kind = records.kindOf(record);
      if (isSchema(kind)) return schemaTopic;
      const { table } = records.runOf(record);
      if (kind === RecordKind.DEAD_LETTER) return deadLetters.get(table)!;
      if (last?.table !== table) last = { table, topic: ofTable.get(table)! };
      return kind === RecordKind.RESOLVED && withoutMarks.has(last.topic) ? null : last.topic;
    };
    return planRequests(records, topicOf, (topic) => this.maxBatchBytes(topic));
  }

  maxBatchBytes(topic: Topic): number {
    return this.#options.batchLimits.of(topic.name);
  }

  /** The topic of a table. Kafka names topics that collide, and not whose they are. */
  async requireTopic(tableName: string, signal: AbortSignal): Promise<Topic> {
    const name = this.#nameTopic(tableName);
    try {
      return await this.#options.topics.require(name, signal);
    } catch (error) {
      const isRefused = error instanceof KafkaCodeError ? error.kind === 'refused' : error instanceof SinkError;
      const clash = isRefused ? this.#options.clashOf(tableName) : null;
      if (clash === null) throw error;
      throw new SinkError('refused', clash, error);
    }
  }

  #nameTopic(tableName: string): string {
    try {
      return this.#options.nameTopic(tableName);
    } catch (error) {
      throw new SinkError('refused', error instanceof Error ? error.message : String(error), error);
    }
  }

  /** Where notes go of records that the table's topic does not take. */
  #deadLetterTopic(tableName: string, signal: AbortSignal): Promise<Topic> {
    return this.#options.topics.require(deadLetterTopic(this.#nameTopic(tableName)), signal);
  }

  async #findSchemaTopic(kind: RecordKind, signal: AbortSignal): Promise<Topic | null> {
    const { topics, logger } = this.#options;
    if (kind !== RecordKind.FIRST_SCHEMA) return topics.require(topics.schemaTopic, signal);
    const topic = await topics.find(topics.schemaTopic, signal);
    if (topic === null && !this.#hasWarned) {
      logger.warn({ topic: topics.schemaTopic }, 'topic for schema changes is missing, first schemas are not written');
      this.#hasWarned = true;
    }
    return topic;
  }
}

function deadLetterTopic(topic: string): string {
  return `${topic}.dead-letter`;
}

function isSchema(kind: RecordKind): boolean {
  return kind === RecordKind.SCHEMA || kind === RecordKind.FIRST_SCHEMA;
}

/** A broker takes batches of 1 MiB by default (max.message.bytes); a topic that takes less is found out. */
const DEFAULT_MAX_BATCH_BYTES = 512 * 1024;

/** How large a batch each topic takes, as far as we know. */
export class BatchLimits {
  readonly #limits = new Map<string, number>();

  of(topic: string): number {
    return this.#limits.get(topic) ?? DEFAULT_MAX_BATCH_BYTES;
  }

  shrink(topic: string, refusedBytes: number): void {
    this.#limits.set(topic, Math.min(this.of(topic), refusedBytes >>> 2));
  }
}
