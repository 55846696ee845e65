import { startControlServer, type ControlServer, type ControlServerOptions } from '../../src/control/server.ts';
import { withToken } from './credentials.ts';
import { keepingLogger } from './loggers.ts';
import type { MemoryControlPlane } from './memory-control-plane.ts';
import { memoryStatus } from './memory-status.ts';

/** The API of a sidecar before a control plane in memory, at a port of its own; to anybody, and saying nothing, unless told otherwise. */
export function serveMemory(
  plane: MemoryControlPlane,
  more: Partial<ControlServerOptions> = {},
): Promise<ControlServer> {
  return startControlServer({
    listen: { host: '127.0.0.1', port: 0 },
    credentials: withToken(null),
    sidecar: plane,
    status: memoryStatus(plane),
    metrics: { contentType: 'text/plain', text: () => Promise.resolve('') },
    logger: keepingLogger(),
    audit: keepingLogger(),
    version: '1.2.3',
    ...more,
  });
}
