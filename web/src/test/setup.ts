import '@testing-library/jest-dom/vitest'
import { cleanup, configure } from '@testing-library/react'
import { afterEach, beforeEach, vi } from 'vitest'

// A machine under load is slow, and not wrong.
configure({ asyncUtilTimeout: 10_000, defaultHidden: true }) // hidden: what is visible is expensive to ask in jsdom

// What jsdom does not have.
beforeEach(() => {
  vi.stubGlobal('matchMedia', () => ({ matches: false, addEventListener: () => undefined, removeEventListener: () => undefined }))
  vi.stubGlobal('EventSource', class {
    readyState = 0
    addEventListener() {
      return undefined
    }
    close() {
      return undefined
    }
  })
  vi.stubGlobal('ResizeObserver', class {
    observe() {
      return undefined
    }
    unobserve() {
      return undefined
    }
    disconnect() {
      return undefined
    }
  })
})

afterEach(() => {
  cleanup()
  localStorage.clear()
  vi.unstubAllGlobals()
})
