@echo off
rem Double-click this. It makes the environment of the course, and opens the course in JupyterLab; words after it go to JupyterLab.
setlocal EnableExtensions DisableDelayedExpansion
set "HERE=%~dp0"
set "CODE=2"
pushd "%HERE%"
call .\find-python.bat
popd
if defined FOUND call :start %*
if defined FOUND set "CODE=%errorlevel%"
if not "%CODE%"=="0" %HOLD%
exit /b %CODE%

:start
%FOUND% "%HERE%..\lab.py" %*
exit /b %errorlevel%
