import react from '@vitejs/plugin-react'
import { fileURLToPath } from 'node:url'
import { defineConfig } from 'vitest/config'

const inModules = (path: string) => fileURLToPath(new URL(`./node_modules/@patternfly/${path}`, import.meta.url))

// The API of a hub, for `npm run dev`: a hub that was started with --api-insecure.
const hub = process.env.HUB ?? 'http://127.0.0.1:8443'

export default defineConfig({
  plugins: [react()],
  resolve: {
    // Components are named one by one, so that tests and the build load only what is used.
    alias: [
      { find: /^@pf-table$/, replacement: inModules('react-table/dist/esm/components/Table/index.js') },
      { find: /^@pf-layouts\/(.*)$/, replacement: inModules('react-core/dist/esm/layouts/$1/index.js') },
      { find: /^@pf\/(.*)$/, replacement: inModules('react-core/dist/esm/components/$1/index.js') },
      { find: /^@icons\/(.*)$/, replacement: inModules('react-icons/dist/esm/icons/$1.js') },
    ],
  },
  build: {
    // The policy of the pages forbids data: addresses for anything but images.
    assetsInlineLimit: 0,
    chunkSizeWarningLimit: 1200,
  },
  server: { proxy: { '/api': { target: hub, changeOrigin: true } } },
  test: {
    environment: 'jsdom',
    setupFiles: ['src/test/setup.ts'],
    css: false,
    server: { deps: { inline: [/@patternfly/] } },
    restoreMocks: true,
    testTimeout: 30_000,
  },
})
