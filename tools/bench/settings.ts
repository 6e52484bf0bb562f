/**
 * Settings: what servers are given beside a workload. The plain one is that of the goals; `npm run bench -- --matrix` adds the others.
 */
export interface Setting {
  readonly name: string;
  /** `direct`: a peer that can opens its files with O_DIRECT. varve has no such mode and stays as it is. */
  readonly disks: 'buffered' | 'direct';
  readonly transport: 'unix' | 'tcp';
  /** Served by one process and under load at the same time. */
  readonly volumes: number;
}

export const plainSetting: Setting = {
  name: 'buffered, unix socket, one volume',
  disks: 'buffered',
  transport: 'unix',
  volumes: 1,
};

export const directDisks: Setting = {
  ...plainSetting,
  name: 'peers with O_DIRECT (varve: buffered)',
  disks: 'direct',
};

export const overTcp: Setting = { ...plainSetting, name: 'TCP', transport: 'tcp' };

export const eightVolumes: Setting = { ...plainSetting, name: 'eight volumes', volumes: 8 };
