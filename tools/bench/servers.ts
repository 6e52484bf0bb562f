/** What is compared: kinds of servers, and varve itself as one of them. */
import { Service, type ServiceOptions } from '../lib/service.ts';
import type { Setting } from './settings.ts';

export interface RunningServer {
  readonly uri: string;
  /** Those of the volumes beside the first one. */
  readonly others?: readonly string[];
  /** The process whose CPU time and memory count. */
  readonly pid: number;
  stop(): Promise<void>;
}

/** What a server is asked to serve. */
export interface Order {
  /** An existing, empty one. */
  readonly folder: string;
  /** Of each volume. */
  readonly sizeMiB: number;
  readonly setting: Setting;
}

export interface ServerKind {
  readonly name: string;
  /** `build` is another build of varve; `thin` allocates on first write, `raw` does not, the `ceiling` has no disk at all. */
  readonly role: 'varve' | 'build' | 'thin' | 'raw' | 'ceiling';
  /** Whether it can serve so. */
  takes(setting: Setting): boolean;
  /** Serves empty volumes. */
  start(order: Order): Promise<RunningServer>;
}

export const varve: ServerKind = {
  name: 'varve',
  role: 'varve',
  takes: () => true,
  start: (order) => startVarve(order, {}),
};

/** The build in another checkout, to see what a change gave. */
export function varveOf(checkout: string): ServerKind {
  const start = (order: Order) => startVarve(order, { checkout });
  return { name: `varve of ${checkout}`, role: 'build', takes: () => true, start };
}

async function startVarve(
  { sizeMiB, setting }: Order,
  options: ServiceOptions,
): Promise<RunningServer> {
  const service = await Service.start(options);
  try {
    await service.createPool(`${2 * sizeMiB * setting.volumes}MiB`);
    const uris: string[] = [];
    for (let at = 0; at < setting.volumes; at++) {
      uris.push(await addVolume(service, `disk${at}`, sizeMiB, setting.transport));
    }
    const [uri = '', ...others] = uris;
    return { uri, others, pid: service.pid, stop: () => service.dispose() };
  } catch (error) {
    await service.dispose();
    throw error;
  }
}

async function addVolume(
  service: Service,
  name: string,
  sizeMiB: number,
  transport: Setting['transport'],
): Promise<string> {
  if (transport === 'unix') return service.createExportedVolume(name, `${sizeMiB}MiB`);
  await service.varve('volume', 'create', name, '--size', `${sizeMiB}MiB`, '--pool', 'main');
  const added = await service.varve('export', 'add', name, '--listen', 'tcp:127.0.0.1:0');
  const uri = (added.uris as string[]).find((each) => each.startsWith('nbd://'));
  if (uri === undefined) throw new Error(`${name} has no TCP address`);
  return uri;
}
