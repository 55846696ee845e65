import type { Api } from './api.ts';
import { CREATE_TOPICS, FIND_COORDINATOR, METADATA } from './cluster-apis.ts';
import { DESCRIBE_TOPIC_CONFIG } from './describe-configs.ts';
import { END_OFFSETS, FETCH } from './fetch.ts';
import { ADD_PARTITIONS_TO_TXN, END_TXN, INIT_PRODUCER_ID, PRODUCE } from './transaction-apis.ts';

/** What every broker has to speak for a stream to be shipped; what a newer one knows besides is done without. */
export const NEEDED_APIS: readonly Api<never, unknown>[] = [
  METADATA,
  CREATE_TOPICS,
  FIND_COORDINATOR,
  DESCRIBE_TOPIC_CONFIG,
  FETCH,
  END_OFFSETS,
  INIT_PRODUCER_ID,
  ADD_PARTITIONS_TO_TXN,
  END_TXN,
  PRODUCE,
];
