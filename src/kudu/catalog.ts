import { KuduError } from './errors.ts';
import { partitionFromPb, partitionSchemaFromPb, type Partition, type PartitionSchema } from './partition.ts';
import { PartitionSchemaPBSchema } from './proto/common_pb.ts';
import {
  type GetTableSchemaResponsePB,
  type ListTablesResponsePB,
  type ListTabletServersResponsePB,
  type TSInfoPB,
  type TableIdentifierPBSchema,
  type TabletLocationsPB,
  GetTableSchemaResponsePBSchema,
  ListTablesResponsePB_TableInfoSchema,
} from './proto/master_pb.ts';
import { create, isFieldSet, type MessageInitShape } from '@bufbuild/protobuf';
import { raftRoleFromPb, type RaftRole } from './raft.ts';
import { formatHostPort } from './rpc/address.ts';
import { schemaFromPb } from './schema-codec.ts';
import type { TableSchema } from './schema.ts';

/** A table by its name, or by the id that outlives renames. */
export type TableRef = { readonly name: string } | { readonly tableId: string };

/** A table as the catalog lists it. */
export interface TableListing {
  readonly tableId: string;
  readonly name: string;
  /** Null where the master did not say: it was not asked for tablets, or is older than Kudu 1.16. */
  readonly tablets: readonly { readonly tabletId: string; readonly partition: Partition }[] | null;
  readonly liveRowCount: bigint | null;
}

/** A table as the catalog describes it. The schema is the newest that has reached every tablet. */
export interface TableDescription {
  readonly tableId: string;
  readonly name: string;
  readonly schema: TableSchema;
  readonly partitionSchema: PartitionSchema;
  readonly numReplicas: number;
  readonly owner: string;
  readonly comment: string;
  readonly extraConfigs: Readonly<Record<string, string>>;
}

export interface ReplicaLocation {
  readonly uuid: string;
  /** `host:port`; a server may have registered several, this is the first. */
  readonly address: string;
  /** As old as the last heartbeats of the servers, so a second or more. */
  readonly role: RaftRole;
}

export interface TabletLocation {
  readonly tabletId: string;
  readonly partition: Partition;
  readonly replicas: readonly ReplicaLocation[];
}

export interface TabletServerListing {
  readonly uuid: string;
  readonly instanceSeqno: bigint;
  readonly rpcAddresses: readonly string[];
  readonly httpAddresses: readonly string[];
  readonly version: string;
  readonly location: string;
  readonly millisSinceHeartbeat: number;
}

export function tableRefToPb(ref: TableRef): MessageInitShape<typeof TableIdentifierPBSchema> {
  return 'name' in ref ? { tableName: ref.name } : { tableId: Buffer.from(ref.tableId) };
}

export function describeTableRef(ref: TableRef): string {
  return 'name' in ref ? JSON.stringify(ref.name) : ref.tableId;
}

export function tableListingFromPb(pb: ListTablesResponsePB['tables'][number], withTablets: boolean): TableListing {
  return {
    tableId: asText(pb.id),
    name: pb.name,
    tablets: withTablets
      ? pb.tabletWithPartition.map((tablet) => ({
          tabletId: tablet.tabletId,
          partition: tablet.partition ? partitionFromPb(tablet.partition) : WHOLE_TABLE,
        }))
      : null,
    liveRowCount: isFieldSet(pb, ListTablesResponsePB_TableInfoSchema.field.liveRowCount) ? pb.liveRowCount : null,
  };
}

/** @throws {RangeError} when the table has a column type that this client does not know */
export function tableDescriptionFromPb(pb: GetTableSchemaResponsePB): TableDescription {
  if (!pb.schema || !isFieldSet(pb, GetTableSchemaResponsePBSchema.field.tableId))
    throw new KuduError('protocol', 'GetTableSchema: an answer without schema or table id');
  return {
    tableId: asText(pb.tableId),
    name: pb.tableName,
    schema: schemaFromPb(pb.schema),
    partitionSchema: partitionSchemaFromPb(pb.partitionSchema ?? create(PartitionSchemaPBSchema)),
    numReplicas: pb.numReplicas,
    owner: pb.owner,
    comment: pb.comment,
    extraConfigs: { ...pb.extraConfigs },
  };
}

export function tabletLocationFromPb(pb: TabletLocationsPB, servers: readonly TSInfoPB[]): TabletLocation {
  const replicas: ReplicaLocation[] = [];
  for (const replica of pb.internedReplicas) addReplica(replicas, servers[replica.tsInfoIdx], replica.role);
  for (const replica of pb.DEPRECATEDReplicas) addReplica(replicas, replica.tsInfo, replica.role);
  return {
    tabletId: asText(pb.tabletId),
    partition: pb.partition ? partitionFromPb(pb.partition) : WHOLE_TABLE,
    replicas,
  };
}

export function tabletServerFromPb(pb: ListTabletServersResponsePB['servers'][number]): TabletServerListing {
  return {
    uuid: asText(pb.instanceId?.permanentUuid ?? new Uint8Array()),
    instanceSeqno: pb.instanceId?.instanceSeqno ?? 0n,
    rpcAddresses: (pb.registration?.rpcAddresses ?? []).map(formatHostPort),
    httpAddresses: (pb.registration?.httpAddresses ?? []).map(formatHostPort),
    version: pb.registration?.softwareVersion ?? '',
    location: pb.location,
    millisSinceHeartbeat: pb.millisSinceHeartbeat,
  };
}

const WHOLE_TABLE: Partition = { hashBuckets: [], start: Buffer.alloc(0), end: Buffer.alloc(0) };

/** A replica on a server that the master has not heard of since its own start has no address: nobody can call it. */
function addReplica(replicas: ReplicaLocation[], server: TSInfoPB | undefined, role: number): void {
  const address = server?.rpcAddresses[0];
  if (server && address)
    replicas.push({
      uuid: asText(server.permanentUuid),
      address: formatHostPort(address),
      role: raftRoleFromPb(role),
    });
}

/** Ids are ASCII in `bytes` fields. */
export function asText(bytes: Uint8Array): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString();
}
