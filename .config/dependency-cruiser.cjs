/** Which way the house points (docs/architecture.md): one row a room, and the rooms that it may import. */
const ALLOWED = {
  util: [],
  errors: [],
  kudu: ['util'],
  wal: ['util', 'kudu', 'errors'],
  change: ['util', 'kudu'],
  formats: ['util', 'kudu', 'change'],
  'sinks/sink': ['util', 'kudu', 'change', 'errors'],
  'sinks/kafka': ['util', 'kudu', 'change', 'errors', 'sinks/sink'],
  replication: ['util', 'kudu', 'wal', 'change', 'errors', 'sinks/sink'],
  cluster: ['util', 'kudu', 'wal', 'change', 'errors', 'sinks/sink', 'replication'],
  metrics: ['util', 'kudu', 'replication'],
  config: ['util', 'kudu', 'errors'],
  control: ['util', 'kudu', 'replication', 'errors', 'sinks/sink', 'change'],
  demo: ['util', 'kudu', 'errors', 'config'],
  app: [
    'util',
    'kudu',
    'wal',
    'change',
    'formats',
    'sinks',
    'replication',
    'cluster',
    'control',
    'config',
    'metrics',
    'errors',
  ],
  cli: ['util', 'kudu', 'wal', 'change', 'config', 'control', 'app', 'demo', 'errors', 'replication'],
};
const at = (room) =>
  room === 'errors' || room === 'app' || room === 'sinks/sink' ? `^src/${room}\\.ts$` : `^src/${room}/`;
module.exports = {
  forbidden: [
    { name: 'no-circular', severity: 'error', from: {}, to: { circular: true } },
    { name: 'src-knows-no-test', severity: 'error', from: { path: '^src/' }, to: { path: '^test/' } },
    ...Object.entries(ALLOWED).map(([room, allowed]) => ({
      name: `${room.replace('/', '-')}-points-one-way`,
      severity: 'error',
      from: { path: at(room) },
      to: { path: '^src/', pathNot: [room, ...allowed].map(at).join('|') },
    })),
    {
      name: 'pure-rooms-know-no-service-library',
      severity: 'error',
      from: { path: '^src/(util|kudu|wal|change|formats)/' },
      to: { path: 'node_modules/(pino|prom-client|fastify|kafkajs|ioredis|dotenv)' },
    },
  ],
  options: {
    tsPreCompilationDeps: true,
    doNotFollow: { path: 'node_modules' },
    tsConfig: { fileName: 'tsconfig.json' },
  },
};
