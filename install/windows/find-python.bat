rem Called by the launchers beside it, which say where they are in HERE. Leaves the command of a Python that fits in FOUND,
rem and in HOLD what ends a launcher that failed: pause, if its window would close with it.
set "FOUND="
set "OTHER="
set "QUIET=>nul"
call :try py -3.12
call :try py -3.13
call :try py -3.11
call :try python
call :try python3

rem A double click starts: cmd.exe /c ""C:\folder\lab.bat" ". Nothing else leaves a space at the end.
set "HOLD=rem"
set "LINE=%cmdcmdline%"
if defined LINE set "LINE=%LINE:"=%"
if defined LINE if "%LINE:~-1%"==" " set "HOLD=pause"
if defined FOUND exit /b 0

rem A Python of another version says so itself.
set "QUIET="
if defined OTHER call :check %OTHER%
>&2 echo error: no Python that fits the course was found. Install one, open a new window, and try again:
>&2 echo     winget install --exact --id Python.Python.3.12
>&2 echo The python that Windows brings along only leads to the Store, where the versions are others.
exit /b 2

:try
if defined FOUND exit /b 0
set "TRIED=%*"
call :check %*
if "%errorlevel%"=="0" set "FOUND=%TRIED%"
if "%errorlevel%"=="3" set "OTHER=%TRIED%"
exit /b 0

rem Without a call before it: a python that is itself a .bat (pyenv-win) returns from here all the same, and a % in the folder's name stays one.
:check
%* "%HERE%..\lab.py" --check %QUIET% 2>nul
exit /b %errorlevel%
