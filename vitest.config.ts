/**
 * Vitest: two projects. `unit` runs files side by side; `e2e` starts real services, guests and clients, one
 * file at a time, because their timing matters and the machine may have two cores only.
 */
import { defineConfig } from 'vitest/config';

const seconds = 1000;

export default defineConfig({
  test: {
    projects: [
      {
        test: {
          name: 'unit',
          include: ['test/**/*.test.ts'],
          exclude: ['test/e2e/**', 'test/nbd/**'],
          testTimeout: 60 * seconds,
          hookTimeout: 30 * seconds,
        },
      },
      {
        test: {
          name: 'e2e',
          include: ['test/e2e/**/*.test.ts', 'test/nbd/**/*.test.ts'],
          fileParallelism: false,
          testTimeout: 180 * seconds,
          hookTimeout: 120 * seconds,
        },
      },
    ],
  },
});
