/**
 * Vitest: two projects. `unit` runs files side by side; `e2e` starts real services, guests and clients, after all
 * others and one file at a time, because their timing matters and the machine may have two cores only.
 */
import { defineConfig } from 'vitest/config';

const seconds = 1000;
const globalSetup = ['test/servers/rpcbind.ts'];

export default defineConfig({
  test: {
    projects: [
      {
        test: {
          name: 'unit',
          globalSetup,
          include: ['test/**/*.test.ts'],
          exclude: ['test/e2e/**', 'test/nbd/**'],
          sequence: { groupOrder: 0 },
          testTimeout: 60 * seconds,
          hookTimeout: 30 * seconds,
        },
      },
      {
        test: {
          name: 'e2e',
          globalSetup,
          include: ['test/e2e/**/*.test.ts', 'test/nbd/**/*.test.ts'],
          fileParallelism: false,
          sequence: { groupOrder: 1 },
          testTimeout: 180 * seconds,
          hookTimeout: 120 * seconds,
        },
      },
    ],
  },
});
