import '@patternfly/react-core/dist/styles/base.css'
import './style.css'
import { QueryClientProvider } from '@tanstack/react-query'
import { StrictMode } from 'react'
import { createRoot } from 'react-dom/client'
import { BrowserRouter } from 'react-router'
import { App } from './App'
import { PreferencesProvider } from './preferences'
import { newQueryClient } from './queries'

const root = document.getElementById('root')
if (root) {
  createRoot(root).render(
    <StrictMode>
      <PreferencesProvider>
        <QueryClientProvider client={newQueryClient()}>
          <BrowserRouter>
            <App />
          </BrowserRouter>
        </QueryClientProvider>
      </PreferencesProvider>
    </StrictMode>,
  )
}
